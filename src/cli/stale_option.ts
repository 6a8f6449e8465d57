// Which renders `--stale` is for.

import { InputError } from "../errors.ts";
import type { WorkersWish } from "./render_request.ts";

/** Runs of at most as many steps have too little in common from one to the next. */
const FEW_STEPS = 4;

/** Refuses keys of the step before in runs that are too short for them. Throws `InputError`. */
export function checkStale({ staleAfter }: WorkersWish, numSteps: number): void {
  if (staleAfter === undefined || (numSteps > FEW_STEPS && staleAfter < numSteps)) return;
  throw new InputError(
    numSteps > FEW_STEPS
      ? `--stale ${staleAfter} leaves none of the ${numSteps} steps that could use keys of the step before.`
      : `--stale is for runs of many steps, which have much in common; this render takes ${numSteps}. ` +
          "Take the base model with more steps, such as --guidance 2.5 --steps 30, or leave it out.",
  );
}
