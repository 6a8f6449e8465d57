// The attention kernel of software adapters: no workgroup memory, no barriers. `attention` chooses it.

import source from "../../shaders/attention_direct.wgsl?raw";

/** Takes the bindings and parameters of the `attention` kernel. */
export const ATTENTION_DIRECT = { stem: "attention_direct", source };
