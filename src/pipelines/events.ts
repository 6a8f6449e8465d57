// What a long job tells its caller while it runs: typed events, no strings to parse.

/** The stages of one render, in order. */
export type Stage = "load" | "encode_prompt" | "denoise" | "decode" | "encode_video";

/** Sent to `onEvent` while a pipeline works. */
export type PipelineEvent =
  | { readonly type: "stage"; readonly stage: Stage }
  | {
      readonly type: "progress";
      readonly stage: Stage;
      readonly done: number;
      readonly total: number;
      readonly unit: "bytes" | "layers" | "steps" | "frames";
    }
  | {
      readonly type: "preview";
      readonly step: number;
      readonly steps: number;
      readonly width: number;
      readonly height: number;
      /** RGBA images, one per latent frame. */
      readonly frames: readonly Uint8Array[];
    }
  | { readonly type: "notice"; readonly message: string };
