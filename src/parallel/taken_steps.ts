// Steps that workers have taken, told to a loop that waits for them as if it had taken them itself.

import type { DenoiseState } from "../pipelines/denoise.ts";
import type { DenoiseWork } from "../pipelines/step_parts.ts";
import { cleanSampleOf } from "../schedulers/clean_sample.ts";

/** To be called with the state after every step of the work, in order. */
export function tellSteps({ scheduler, start, loop }: DenoiseWork): (state: DenoiseState) => Promise<void> {
  let before = start;
  return async (state) => {
    const step = scheduler.steps[state.step - 1];
    const wanted = loop.wantsPreview ? step : undefined;
    const predicted = wanted && cleanSampleOf(wanted, before.slots, state.slots);
    before = state;
    loop.onProgress(state.step);
    await loop.onStep({ state, predicted });
  };
}
