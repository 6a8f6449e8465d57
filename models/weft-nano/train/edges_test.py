"""What edges.py says of shapes whose answer is known.

    python edges_test.py            # a few seconds on a CPU
"""
import math

import torch
import torch.nn.functional as F

import edges
import render
import world

SIDE, FINE = 64, 8


def drawn(inside):
    """Coverage [1, SIDE, SIDE] of the points (x, y), in pixels from the middle, for which `inside` holds."""
    t = (torch.arange(SIDE * FINE) + .5) / FINE - SIDE / 2
    y, x = torch.meshgrid(t, t, indexing="ij")
    return F.avg_pool2d(inside(x, y).float()[None], FINE)


def turned(shape, angle):
    c, s = math.cos(angle), math.sin(angle)
    return lambda x, y: shape(c * x - s * y, s * x + c * y)


def square(half, corner=0.):
    """Distance to a square whose corners are rounded by `corner`, below 0 inside."""
    def inside(x, y):
        q = torch.stack([x.abs(), y.abs()]) - half + corner
        return q.clamp(min=0).norm(dim=0) + q.amax(0).clamp(max=0) < corner + 1e-6
    return inside


def star(x, y): return (x * x + y * y).sqrt() < 15 + 2 * (4 * torch.atan2(y, x)).cos()
def ball(x, y): return x * x + y * y < 14 ** 2


def numbers(shape):
    points, size, seen = edges.outline(drawn(shape))
    assert seen.all()
    return edges.bent(points, size).item(), edges.hollow(points).item()


def test_shapes():
    """Straight sides and corners give 0; rounder ones more, a ball the most; only what is not convex is hollow."""
    exact, round3, round6, disc = (numbers(turned(f, .5)) for f in (square(14), square(14, 3.), square(14, 6.), ball))
    print("square %.2f %.2f, rounded %.2f %.2f and %.2f %.2f, ball %.2f %.2f" % (*exact, *round3, *round6, *disc))
    assert exact[0] < .25 < round3[0] < .7 < round6[0] < 1.6 < disc[0] < 2.5
    assert max(h for _, h in (exact, round3, round6, disc)) < .8
    cushion = numbers(star)
    print("star %.2f %.2f" % cushion)
    assert cushion[1] > 2 and cushion[0] > 1


def test_a_turn_changes_little():
    found = [numbers(turned(square(10), a))[0] for a in (0., .2, .4, .6)]
    assert max(found) < .4, found


def test_cubes_and_balls_in_renders():
    """Colours give the same outlines as the renderer's coverage; the same scenes with balls are bent."""
    s = edges.cubes(8)
    def judged(shape):
        x = render.render_frames(world.pack(s | {"shape": torch.full_like(s["shape"], shape)}, 9), mask=True)
        return edges.summary(x[:, :, :3], s), x
    cube, x = judged(1)
    points, size, seen = edges.outline(edges.soft(x[:, :, 3].flatten(0, 1).float() / 255))
    exact = edges.bent(points, size)[seen].mean().item()
    round_ = judged(0)[0]
    print("renders: cubes", cube, "by coverage %.2f" % exact, "balls", round_["bent"])
    assert cube["seen"] > 95 and cube["bent"] < exact + .15 and cube["hollow"] < 1.2
    assert round_["bent"] > 1.8


def test_nothing_to_see():
    """Frames without the cube's colour, or with the cube cut off by the border, are left out."""
    grey = torch.full((1, 2, 3, 32, 32), 128, dtype=torch.uint8)
    cut = grey.clone()
    cut[..., :16, :16] = torch.tensor([230, 41, 36], dtype=torch.uint8)[:, None, None]
    red = torch.tensor([world.COLOURS["red"]])
    assert edges.straightness(grey, red)[0].isnan().all() and edges.straightness(cut, red)[0].isnan().all()
    whole = grey.clone()
    whole[..., 8:24, 8:24] = torch.tensor([230, 41, 36], dtype=torch.uint8)[:, None, None]
    assert (edges.straightness(whole, red)[0] < 1).all()


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"): test(); print(name, "passed", flush=True)
