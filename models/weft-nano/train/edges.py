"""How straight the edges of cubes are. The outline of a cube is a convex polygon of four to six sides, so two numbers judge it:

bent    root mean square distance of an outline from the six straight lines that fit it best, in per cent of the object's
        size (the root of its area): 0.2 for a square of 28 pixels, 0.8 with corners rounded by a fifth of its width, 2.2 for a ball
hollow  share of its convex hull that an outline leaves out, in per cent: drawn-out corners and sagging edges

Outlines are read off the pixels: whose colour is nearer to the object's hue than to its surroundings', to fractions of a pixel.
"""
import math
import random

import torch
import torch.nn.functional as F

import captions
import world

SIDES, RAYS = 6, 72
REACH = 1.5                                       # rays end this far from the centre, in sizes; a cube's corner is at most .83 away
LEAST = 60                                        # pixels an object must cover to be measured
MOTIONS = [world.LEFT, world.SPIN, world.BOUNCE, world.CIRCLE, world.REST_STILL, world.RIGHT, world.GROW, world.APPROACH]
COLOURS = ["red", "green", "purple", "blue"]      # whose hue is far from that of the grounds and skies below
GROUNDS, SKIES = ["snow", "checkered", "sand"], ["overcast", "day"]


def cubes(n, device="cpu"):
    """Scenes of one cube each: every motion, both sizes, grounds and skies that its hue stands out from."""
    s, i = world.sample_scenes(n, torch.Generator().manual_seed(4711), device), torch.arange(n, device=device)
    def of(names, every): return torch.tensor([every.index(k) for k in names], device=device)
    s["two"][:], s["flip"][:], s["shiny"][:], s["shape"][:, 0] = False, False, 0, 1          # a shiny border mirrors the sky
    s["motion"][:, 0], s["motion"][:, 1] = torch.tensor(MOTIONS, device=device)[i % len(MOTIONS)], world.REST_STILL
    j = i // len(MOTIONS)
    s["size"][:, 0] = (j + 1) % 2
    s["colour"][:, 0] = of(COLOURS, world.COLOUR_NAMES)[(j // 2 + i) % len(COLOURS)]
    s["ground"] = of(GROUNDS, world.GROUNDS)[(j + i) % len(GROUNDS)]
    s["sky"] = of(SKIES, world.SKIES)[torch.where(s["colour"][:, 0] == world.COLOUR_NAMES.index("blue"), 0, (j // 2 + i) % 2)]
    s["camera"] = torch.where(s["motion"][:, 0] == world.REST_STILL, 1 + j % 2, torch.zeros_like(i))       # one at rest is seen from all around
    return s


def captioned_cubes(n, device="cpu"):
    """cubes() and a caption for each."""
    s = cubes(n, device)
    return s, [captions.caption(captions.attributes(s, i), random.Random(i), full=True) for i in range(n)]


def angle(x, hue):
    """Sine of the angle between colours [..., 3, h, w] and a hue [..., 3]: blind to shading."""
    d = F.normalize(hue, dim=-1)[..., None, None]
    along = (x * d).sum(-3, keepdim=True)
    return (x - along * d).norm(dim=-3) / x.norm(dim=-3).clamp(min=.02)


def matte(frames, colour):
    """uint8 frames [n, 3, h, w] and the objects' colours [n, 3] -> 1 on the object, 0 off it, .5 at its border; a little soft, so
    that stairs of pixels do not count."""
    x = frames.float() / 255
    near = angle(x, colour) < .22
    def mean(m): return (x * m[:, None]).sum((2, 3)) / m.sum((1, 2)).clamp(min=1)[:, None]
    off = angle(x, mean(near))
    rest = (off * ~near).sum((1, 2)) / (~near).sum((1, 2)).clamp(min=1)
    return soft((1 - off / rest.clamp(min=.05)[:, None, None]).clamp(0, 1))


def soft(alpha):
    """Mattes [n, h, w] under a binomial of 3 x 3."""
    k = torch.tensor([.25, .5, .25], device=alpha.device)
    return F.conv2d(F.pad(alpha[:, None], (1, 1, 1, 1), mode="replicate"), (k[:, None] * k)[None, None])[:, 0]


def outline(alpha):
    """Mattes [n, h, w] -> (points of the outline [n, RAYS, 2] about its centre, in pixels; size [n]; 1 where there is an object).

    The centre is the median of the object's pixels; on every ray the outermost crossing of one half counts."""
    n, h, w = alpha.shape
    on, dev = alpha > .5, alpha.device
    area = on.sum((1, 2))
    def median(dim): return (on.sum(dim).cumsum(1) * 2 >= area[:, None]).float().argmax(1).float()
    x, y = median(1), median(2)
    grid = torch.stack(torch.meshgrid(torch.arange(h, device=dev), torch.arange(w, device=dev), indexing="ij"))
    close = on & (((grid[0] - y[:, None, None]).square() + (grid[1] - x[:, None, None]).square()) < REACH ** 2 * area[:, None, None])
    area = close.sum((1, 2))
    size = area.clamp(min=1).float().sqrt()
    x, y = ((close * grid[d]).sum((1, 2)) / area.clamp(min=1) for d in (1, 0))
    a = torch.arange(RAYS, device=dev) * (2 * torch.pi / RAYS)
    r = torch.arange(0, 256, device=dev) / 255 * REACH
    radius = size[:, None, None] * r                                                              # [n, 1, steps]
    px, py = x[:, None, None] + radius * a.cos()[:, None], y[:, None, None] + radius * a.sin()[:, None]
    at = torch.stack([(px + .5) * 2 / w - 1, (py + .5) * 2 / h - 1], -1)
    v = F.grid_sample(alpha[:, None], at, align_corners=False, padding_mode="zeros")[:, 0] - .5    # [n, RAYS, steps]
    last = ((v > 0) * torch.arange(256, device=dev)).amax(2).clamp(max=254)
    v0, v1 = v.gather(2, last[..., None])[..., 0], v.gather(2, last[..., None] + 1)[..., 0]
    edge = (last + (v0 / (v0 - v1).clamp(min=1e-4)).clamp(0, 1)) / 255 * REACH * size[:, None]
    inside = (x > 0) & (size ** 2 >= LEAST) & ~_cut(close)
    return torch.stack([edge * a.cos(), edge * a.sin()], -1), size, inside


def _cut(on):
    """Objects that touch the border of the picture."""
    return on[:, 0].any(1) | on[:, -1].any(1) | on[:, :, 0].any(1) | on[:, :, -1].any(1)


def _costs(p):
    """Sum of squared distances of points i..j of closed outlines [n, k, 2] from their own best line: [n, k, k], j counted from i."""
    n, k, _ = p.shape
    q = torch.cat([p, p], 1).double()
    m = torch.stack([torch.ones_like(q[..., 0]), q[..., 0], q[..., 1], q[..., 0] ** 2, q[..., 1] ** 2, q[..., 0] * q[..., 1]], -1)
    c = torch.cat([torch.zeros(n, 1, 6, dtype=q.dtype, device=p.device), m.cumsum(1)], 1)
    i = torch.arange(k, device=p.device)
    s = c[:, i[:, None] + i + 1] - c[:, i][:, :, None]
    one, sx, sy, xx, yy, xy = s.unbind(-1)
    a, b, d = xx - sx * sx / one, yy - sy * sy / one, xy - sx * sy / one
    return ((a + b) / 2 - (((a - b) / 2).square() + d.square()).sqrt()).clamp(min=0)             # the smaller eigenvalue of the scatter


def bent(points, size, sides=SIDES):
    """Root mean square distance of outlines [n, RAYS, 2] from the `sides` lines that fit them best, in per cent of their size."""
    out = []
    for p, s in zip(points.split(256), size.split(256)):
        cost, k = _costs(p), p.shape[1]
        start = torch.arange(k, device=p.device)
        best = cost                                                       # [n, start, last point counted from start]
        for _ in range(sides - 1):                                        # one more line, from point i + 1 to point j
            more = torch.full_like(best, float("inf"))
            for i in range(k - 1):
                line = cost[:, (start + i + 1) % k, :k - 1 - i]
                more[:, :, i + 1:] = torch.minimum(more[:, :, i + 1:], best[:, :, i:i + 1] + line)
            best = torch.minimum(best, more)
        out.append((best[:, :, -1].amin(1) / k).sqrt().float() / s * 100)
    return torch.cat(out)


def hollow(points):
    """Per cent of the convex hulls of outlines [n, RAYS, 2] that lie outside the outlines."""
    n, k, _ = points.shape
    r, step = points.norm(dim=-1), 2 * torch.pi / k
    hull, half = r.clone(), k // 2
    for a in range(1, half):                                              # chords from a rays before each ray to b rays after it
        for b in range(1, half - a):
            p, q = r.roll(a, 1), r.roll(-b, 1)
            hull = torch.maximum(hull, p * q * math.sin((a + b) * step) / (p * math.sin(a * step) + q * math.sin(b * step)).clamp(min=1e-6))
    return 100 * (1 - r.square().sum(1) / hull.square().sum(1).clamp(min=1e-6))


def straightness(frames, colour):
    """Videos uint8 [n, frames, 3, h, w] of one object each, colours [n, 3] -> (bent, hollow), both [n, frames], NaN where no
    object is seen whole."""
    n, t = frames.shape[:2]
    points, size, seen = (torch.cat(x) for x in zip(*(outline(matte(f, c.expand(t, 3))) for f, c in zip(frames, colour))))
    return tuple(torch.where(seen, x, torch.nan).view(n, t) for x in (bent(points, size), hollow(points)))


def summary(frames, scenes):
    """Means over the videos of cubes() with 95 % intervals, the share of frames in which the cube was seen, and `bent` by motion."""
    colours = torch.tensor([world.COLOURS[c] for c in world.COLOUR_NAMES], device=frames.device)[scenes["colour"][:, 0]]
    b, h = straightness(frames, colours)
    row = {"seen": round(100 * (~b.isnan()).float().mean().item(), 1)}
    for name, x in (("bent", b), ("hollow", h)):
        v = x.nanmean(1)
        v = v[~v.isnan()]
        row |= {name: round(v.mean().item(), 3), f"{name}_ci": round(1.96 * v.std().item() / math.sqrt(len(v)), 3)}
    motion = scenes["motion"][:, 0]
    return row | {"by_motion": {world.MOTIONS[m]: round(b[motion == m].nanmean().item(), 2) for m in MOTIONS if (motion == m).any()}}
