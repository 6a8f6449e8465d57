// The attention plan: which key frames each query frame sees, with what bias and at what temporal positions, per layer,
// head and step; and which heads are perturbed. Plain data in global latent-frame numbers, never in workers or tokens,
// so that one plan serves every resolution, every kernel and any number of devices. Types only, and two look-ups.

/** The version of the plan's JSON form. */
export const PLAN_VERSION = 1;

/** What a model attends to. A pure function of (layer, head, step, timestep): see `ruleOf` and src/attention/rule_lists.ts. */
export interface AttentionPlan {
  readonly version: typeof PLAN_VERSION;
  /** Latent frames the plan was made for; "any" when its rules fit every length. */
  readonly numLatentFrames: number | "any";
  /** Rules by name. Layers and heads that share a rule share its compiled lists. */
  readonly rules: Readonly<Record<string, AttentionRule>>;
  /** Name of the rule of every layer and head without an override. */
  readonly defaultRule: string;
  /** Later entries win. */
  readonly overrides: readonly RuleOverride[];
  /** SoftPAG. Later entries win; heads that none names are left alone. */
  readonly perturbations: readonly Perturbation[];
}

/** Another rule for some layers, or for some of their heads. */
export interface RuleOverride {
  readonly layers: readonly number[];
  /** Default all heads. */
  readonly heads?: readonly number[] | undefined;
  readonly rule: string;
}

/** o' = (1 - strength) * o + strength * v for these heads; at 1 the head's keys are not even read. */
export interface Perturbation {
  readonly layers: readonly number[];
  /** Default all heads. */
  readonly heads?: readonly number[] | undefined;
  /** u of SoftPAG (arXiv 2506.10978), 0 to 1. */
  readonly strength: number;
}

/**
 * What one head sees: groups of keys. A key that several groups name belongs to the first of them only, so nothing is
 * counted twice; frames before the first and after the last do not exist.
 */
export interface AttentionRule {
  readonly groups: readonly KeyGroup[];
}

/** Keys that share a bias and a way to place them in time. */
export interface KeyGroup {
  /** For drawings and messages, such as "local". */
  readonly name: string;
  readonly frames: FrameRule;
  readonly bias: LogitBias;
  readonly positions: PositionRule;
}

/** Which key frames a query frame sees. */
export type FrameRule =
  | { readonly kind: "all" }
  /**
   * Key frames at most `radius` away. At the ends the window is cut ("clip"), or moved inwards so that every query
   * sees as many frames ("shift").
   */
  | { readonly kind: "window"; readonly radius: number; readonly ends: "clip" | "shift" }
  /** Key frames of a set, for every query: global context. */
  | { readonly kind: "anchors"; readonly frames: FrameSet }
  /** Attention Tile (arXiv 2502.06155): the frame itself, and all pairs of which one is a reference frame. */
  | { readonly kind: "references"; readonly frames: FrameSet }
  /**
   * Radial attention (arXiv 2506.19852) on whole tiles. A pair of frames at a distance d in [2^g, 2^(g+1)) keeps the
   * key tiles that lie within `density / 2^g` of a frame around the query tile's own place; where that is less than
   * one tile, only the tile at the same place, and only for every 2^g / (density * tiles)-th distance. Up to
   * `denseDistance` everything is kept.
   */
  | { readonly kind: "radial"; readonly denseDistance: number; readonly density: number }
  /** Key frames written out for every query frame, each list ascending. */
  | { readonly kind: "list"; readonly keys: readonly (readonly number[])[] };

/** A set of latent frames that may depend on the step (and layer). */
export type FrameSet =
  | { readonly kind: "list"; readonly frames: readonly number[] }
  /** `count` frames evenly spaced from frame 0: floor(i * frames / count). */
  | { readonly kind: "uniform"; readonly count: number }
  /** LVSA (arXiv 2605.31057): frames step mod period, + period, ...; period = ceil(frames / count). */
  | { readonly kind: "rotating"; readonly count: number; readonly first: number }
  /**
   * As rotating, but the offsets are spread so that `steps` steps cover every frame when they can and leave even gaps
   * when they cannot. With `layers` above 1 successive layers of a step take other offsets too: what a model of few
   * steps needs, since then every frame is an anchor in some layer of every render.
   */
  | {
      readonly kind: "coverage";
      readonly count: number;
      readonly first: number;
      readonly steps: number;
      readonly layers: number;
    };

/**
 * A number added to the group's logits. A list chooses it by timestep (0 to 1000): the entry with the largest
 * `timestepAtLeast` that the timestep reaches, otherwise 0.
 */
export type LogitBias = number | readonly BiasFrom[];

/** An entry of a bias by timestep. */
export interface BiasFrom {
  readonly timestepAtLeast: number;
  readonly value: number;
}

/**
 * How far apart in time query and key are made to seem. With d = query frame - key frame:
 * - true: d.
 * - clamped: d, at most `max` either way.
 * - vrpr (FreeLOC, arXiv 2603.25209): d below `near`; then in steps of `nearStep`; from `far` on in steps of
 *   `farStep`; never more than `max`.
 * - riflex (arXiv 2502.15894): d, but temporal frequency number `frequency` (1 is the fastest) is slowed down to
 *   0.9 turns in `length` latent frames (default the video's), so that it does not repeat.
 */
export type PositionRule =
  | { readonly kind: "true" }
  | { readonly kind: "clamped"; readonly max: number }
  | {
      readonly kind: "vrpr";
      readonly near: number;
      readonly far: number;
      readonly nearStep: number;
      readonly farStep: number;
      readonly max: number;
    }
  | { readonly kind: "riflex"; readonly frequency: number; readonly length?: number | undefined };

/** The name of the rule of a head. */
export function ruleNameOf(plan: AttentionPlan, { layer, head }: { layer: number; head: number }): string {
  const override = plan.overrides.findLast(
    ({ layers, heads }) => layers.includes(layer) && (heads?.includes(head) ?? true),
  );
  return override?.rule ?? plan.defaultRule;
}

/** The rule of a head. Throws for a name without a rule, which `validatePlan` finds earlier. */
export function ruleOf(plan: AttentionPlan, place: { layer: number; head: number }): AttentionRule {
  const name = ruleNameOf(plan, place);
  const rule = plan.rules[name];
  if (rule === undefined) throw new Error(`The attention plan has no rule "${name}".`);
  return rule;
}

/** How strongly a head is perturbed, 0 to 1. */
export function perturbationOf(
  plan: AttentionPlan,
  { layer, head }: { layer: number; head: number },
): number {
  const found = plan.perturbations.findLast(
    ({ layers, heads }) => layers.includes(layer) && (heads?.includes(head) ?? true),
  );
  return found?.strength ?? 0;
}
