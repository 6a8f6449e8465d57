"""The toy world: random scenes and their animation. No pixels here (render.py) and no words (captions.py).

`sample_scenes` draws attributes, `pack` animates them into parameter blocks of 64 numbers a frame.
Timing is absolute (32 frames are one unit of time) and every motion comes to rest or repeats, so a longer clip
continues a shorter one: the first 17 frames of a 49-frame video are the 17-frame video.
"""
import math

import torch

FPS, FRAMES = 16, 33
SHAPES = ["ball", "cube", "cylinder", "cone", "ring", "pyramid"]
COLOURS = {"red": (.90, .16, .14), "orange": (.98, .54, .10), "yellow": (.98, .86, .16), "green": (.16, .68, .26),
           "cyan": (.16, .80, .84), "blue": (.16, .34, .92), "purple": (.56, .22, .80), "pink": (.98, .50, .72),
           "white": (.96, .96, .96), "black": (.10, .10, .11)}
COLOUR_NAMES = list(COLOURS)
MOTIONS = ["bounces", "rolls left", "rolls right", "spins", "rises", "falls", "circles", "grows", "shrinks", "stands still",
           "approaches", "pushes left", "pushes right"]
BOUNCE, LEFT, RIGHT, SPIN, RISE, FALL, CIRCLE, GROW, SHRINK, REST_STILL, APPROACH, PUSH_LEFT, PUSH_RIGHT = range(13)
PAIR_MOTIONS = [BOUNCE, SPIN, RISE, FALL, GROW, SHRINK, REST_STILL]     # side by side, each on its own
INTERACTIONS = [CIRCLE, LEFT, RIGHT, PUSH_LEFT, PUSH_RIGHT]             # around, behind, behind, pushes, pushes
GROUNDS = ["grass", "sand", "snow", "checkered", "water"]
SKIES = ["day", "sunset", "night", "overcast"]
CAMERAS = ["static", "orbits left", "orbits right", "zooms in", "zooms out", "pans left", "pans right"]
LIGHTS = [(.45, .85, .45), (-.75, .52, .42), (.45, .80, .40), (.15, 1., .25)]
HARD, TURNS = (1, 1, 5), (LEFT, RIGHT, SPIN)           # shapes that training scenes have more of, cubes before pyramids; what turns them
PLAIN = dict(hard=.2)                                  # sample_scenes' shares for a first training: 27 % cubes, 20 % pyramids
HARDER = dict(hard=.45, turning=.4)                    # and for models that are trained on: 39 % and 24 %, more of which turn
REST_HEIGHT = [1.0, .83, .89, .92, 1.0, .87]          # centre above the floor, in radii, per shape
HALF_WIDTH = [1.0, .83, .73, .80, 1.0, .80]           # how far a pushed shape reaches sideways, in radii


def sample_scenes(n, gen=None, device="cpu", hard=0., turning=0.):
    """Random attributes of n scenes as a dict of tensors; columns 0 and 1 are object slots, slot 0 is named first.

    `hard`: share of objects drawn anew among the shapes with straight edges, which take longest to learn; `turning`: share
    of those, where they are alone, that roll or spin whatever they would have done."""
    def r(hi, *s): return torch.randint(hi, (n, *s), generator=gen)
    def u(*s): return torch.rand(n, *s, generator=gen)
    two = u() < .36
    shape, colour, size, shiny = r(6, 2), r(10, 2), r(2, 2), r(2, 2)
    colour[:, 1] = torch.where(colour[:, 1] == colour[:, 0], (colour[:, 1] + 1 + r(9)) % 10, colour[:, 1])
    if hard: shape = torch.where(u(2) < hard, torch.tensor(HARD)[r(len(HARD), 2)], shape)
    still = torch.full((n,), REST_STILL)
    single = torch.stack([r(11), still], 1)
    if turning: single[:, 0] = torch.where(torch.isin(shape[:, 0], torch.tensor(HARD)) & (u() < turning), torch.tensor(TURNS)[r(len(TURNS))], single[:, 0])
    pair = torch.tensor(PAIR_MOTIONS)[r(len(PAIR_MOTIONS), 2)]
    pair[:, 1] = torch.where(u() < .5, still, pair[:, 1])
    meet = torch.stack([torch.tensor(INTERACTIONS)[r(len(INTERACTIONS))], still], 1)
    motion = torch.where(two[:, None], torch.where((u() < .45)[:, None], meet, pair), single)
    camera = torch.where(u() < .3, torch.zeros(n, dtype=torch.long), r(7))
    s = dict(two=two, shape=shape, colour=colour, size=size, shiny=shiny, motion=motion, ground=r(5), sky=r(4),
             camera=camera, flip=u() < .3, jit=u(16))
    return {k: t.to(device) for k, t in s.items()}


def settle(t):
    """Time that runs evenly to 1, then slows down and stops at 1.25."""
    late = (t - 1).clamp(0, .5)
    return t.clamp(max=1) + late - late * late


def _rotation(axis, a):
    c, s, z, o = a.cos(), a.sin(), torch.zeros_like(a), torch.ones_like(a)
    m = {"x": [o, z, z, z, c, -s, z, s, c], "y": [c, z, s, z, o, z, -s, z, c], "z": [c, -s, z, s, c, z, z, z, o]}[axis]
    return torch.stack(m, -1).unflatten(-1, (3, 3))


def _tumble_height(shape, angle):
    """Centre height (in radii) at which a shape rolled by `angle` about the viewing axis touches the floor."""
    c, s = angle.cos(), angle.sin()
    box = .76 * (s.abs() + c.abs()) + .07
    corners = ((0., .94), (.94, -.90), (-.94, -.90))
    tent = torch.stack([-(x * s + y * c) for x, y in corners]).amax(0)
    out = torch.ones_like(angle)
    out = torch.where(shape == 1, box, out)
    out = torch.where(shape == 2, torch.full_like(out, .74), out)
    return torch.where((shape == 3) | (shape == 5), tent, out)


def _paths(s, i, t, radius):
    """Ground positions (x, z) of object slot i [n, frames] and the distance rolled."""
    u = settle(t)
    j = s["jit"] * 2 - 1
    two, flip = s["two"][:, None], torch.where(s["flip"], -1., 1.)[:, None]
    lead = s["motion"][:, :1]                                                    # slot 0 decides the interaction
    mo = s["motion"][:, i:i + 1]
    zero = torch.zeros_like(t)
    x = torch.where(two, flip * 1.2 * (-1 if i == 0 else 1) + .1 * j[:, i:i + 1], .3 * j[:, i:i + 1]) + zero
    z = .25 * j[:, 2 + i:3 + i] + zero
    way = torch.where((mo == LEFT) | (mo == PUSH_LEFT), -1., 1.)
    rolled = way * (3.1 * u - 1.7)
    rolling = (mo == LEFT) | (mo == RIGHT)
    x, z = torch.where(rolling, rolled, x), torch.where(rolling, torch.where(two, zero - 1.0, zero), z)
    phase = 2 * math.pi * t + math.pi * j[:, 5:6]
    orbit = torch.where(two, torch.full_like(t, 1.75), torch.full_like(t, 1.2))
    x, z = torch.where(mo == CIRCLE, orbit * phase.cos(), x), torch.where(mo == CIRCLE, orbit * phase.sin(), z)
    z = torch.where(mo == APPROACH, -2.6 + 4.4 * u, z)
    # Interactions: the partner stands in the middle, in front of a roller, or is pushed along.
    behind, round_, push = (lead == LEFT) | (lead == RIGHT), lead == CIRCLE, (lead == PUSH_LEFT) | (lead == PUSH_RIGHT)
    if i == 1:
        x = torch.where(two & (behind | round_), .2 * j[:, 1:2] + zero, x)
        z = torch.where(two & behind, zero + .7, torch.where(two & round_, zero, z))
    half = torch.tensor(HALF_WIDTH, device=t.device)[s["shape"]] * radius
    gap = (1.7 - half.sum(1, keepdim=True)).clamp(min=.1)
    touch = gap / 2.2
    way = torch.where(lead == PUSH_LEFT, -1., 1.)
    after = (u - touch).clamp(min=0)
    pushed = -2.0 + 2.2 * torch.minimum(u, touch) + 1.3 * after if i == 0 else -.3 + 1.3 * after
    x, z = torch.where(two & push, way * pushed, x), torch.where(two & push, zero, z)
    distance = torch.where(rolling, rolled, torch.where(two & push & (s["shape"][:, i:i + 1] == 0), way * pushed, zero))
    return x, z, distance, rolling


def _place(P, s, i, t, radius):
    """Fill the 20 numbers of object slot i: centre, world-to-local rotation, radius, shape, colour, shininess."""
    shape, mo, j = s["shape"][:, i:i + 1], s["motion"][:, i:i + 1], s["jit"] * 2 - 1
    u, zero, r0 = settle(t), torch.zeros_like(t), radius[:, i:i + 1]
    r = r0 * torch.where(mo == GROW, .45 + .6 * u, torch.where(mo == SHRINK, 1.2 - .56 * u, zero + 1))
    x, z, distance, rolling = _paths(s, i, t, radius)
    angle = -distance / r0
    rest = torch.tensor(REST_HEIGHT, device=t.device)[shape]
    y = r * torch.where(rolling, _tumble_height(shape, angle), rest + zero)
    hop = (t / .75 + s["jit"][:, 4:5]) % 1
    y = y + torch.where(mo == BOUNCE, 1.1 * 4 * hop * (1 - hop), zero) + torch.where(mo == RISE, 1.5 * u, zero)
    drop = 1.75 * (1 - (t / .8) ** 2).clamp(min=0) + .22 * (1 - ((t - 1.03) / .23) ** 2).clamp(min=0)
    y = y + torch.where(mo == FALL, drop, zero)
    yaw = .6 * j[:, 6 + i:7 + i] + torch.where(mo == SPIN, 2 * math.pi * .85 * t, zero)
    lead = s["motion"][:, :1]
    yaw = torch.where(rolling | (lead == PUSH_LEFT) | (lead == PUSH_RIGHT), zero, yaw)
    M = _rotation("z", angle) @ _rotation("y", yaw)
    lies = (shape == 2) & rolling                                                 # a rolling cylinder lies on its side
    M = torch.where(lies[..., None, None], M @ _rotation("x", torch.full_like(t, math.pi / 2)), M)
    o = 24 + 20 * i
    P[..., o], P[..., o + 1], P[..., o + 2] = x, y, z
    P[..., o + 3:o + 12] = M.transpose(-1, -2).flatten(-2)
    P[..., o + 12], P[..., o + 13] = r, shape.float()
    P[..., o + 14:o + 17] = torch.tensor([COLOURS[c] for c in COLOUR_NAMES], device=t.device)[s["colour"][:, i]][:, None]
    P[..., o + 17] = s["shiny"][:, i:i + 1].float()


def _aim(P, s, t):
    """Fill the camera's position and axes. Pans are gentle where objects move sideways or stand apart, so none leaves."""
    j, cam, u = s["jit"] * 2 - 1, s["camera"][:, None], settle(t)
    def on(m): return (cam == m).float()
    azimuth = .2 * j[:, 8:9] + (on(2) - on(1)) * (u - .5) * 1.4
    distance = 7.0 + .2 * j[:, 9:10] + on(3) * (1.3 - 2.5 * u) + on(4) * (-1.8 + 2.5 * u)
    tilt = .24 + .05 * j[:, 10:11]
    lead = s["motion"][:, :1]
    busy = s["two"][:, None] | (lead == LEFT) | (lead == RIGHT) | (lead == CIRCLE)
    pan = (on(6) - on(5)) * (u - .6) * torch.where(busy, .26, .42)
    target = torch.stack([torch.zeros_like(t), torch.full_like(t, 1.15), torch.zeros_like(t)], -1)
    reach = tilt.cos() * distance
    pos = target + torch.stack([azimuth.sin() * reach, tilt.sin() * distance, azimuth.cos() * reach], -1)
    f = torch.nn.functional.normalize(target - pos, dim=-1)
    f = torch.stack([f[..., 0] * pan.cos() - f[..., 2] * pan.sin(), f[..., 1], f[..., 0] * pan.sin() + f[..., 2] * pan.cos()], -1)
    right = torch.nn.functional.normalize(torch.cross(f, torch.tensor([0., 1., 0.], device=t.device).expand_as(f), dim=-1), dim=-1)
    P[..., 0:3], P[..., 3:6], P[..., 6:9], P[..., 9:12] = pos, right, torch.cross(right, f, dim=-1), f


def pack(s, frames=FRAMES, stride=1):
    """Animate scenes into parameter blocks [n, ceil(frames/stride), 64]; layout at the top of render.cu.h."""
    dev, n = s["jit"].device, len(s["jit"])
    k = torch.arange(0, frames, stride, device=dev).float()
    t = (k / 32)[None].expand(n, -1)
    P = torch.zeros(n, len(k), 64, device=dev)
    radius = torch.where(s["size"] == 1, torch.where(s["two"], .79, .88)[:, None], .52)
    for i in range(2): _place(P, s, i, t, radius)
    _aim(P, s, t)
    P[..., 12], P[..., 13] = .42, (k / FPS)[None]
    P[..., 14], P[..., 15] = s["ground"][:, None].float(), s["sky"][:, None].float()
    P[..., 16:19] = torch.nn.functional.normalize(torch.tensor(LIGHTS, device=dev), dim=-1)[s["sky"]][:, None]
    P[..., 20] = 1 + s["two"].float()[:, None]
    return P
