// The peer in the same run: onnxruntime-web's own WebGPU kernels on our device and operands, timed as our own are beside
// them: by the wall clock around queued work, since timestamps could only be written into our own commands.
import type { BenchRun } from "../bench_run.ts";
import { peerAttention } from "./ort_attention.ts";
import { peerForward } from "./ort_forward.ts";
import { peerLinear } from "./ort_linear.ts";
import { OrtPeer } from "./ort_peer.ts";

/** Linear layers, attention, forward passes. */
export async function benchPeers(run: BenchRun): Promise<void> {
  await run.withGpu(
    async (gpu) => {
      const peer = await OrtPeer.open(gpu);
      await peerAttention(run, peer);
      await peerForward(run, peer);
      await peerLinear(run, peer);
    },
    { profile: false },
  );
}
