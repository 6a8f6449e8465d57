"""Small parts of the recipe against what they promise, without a GPU and without checkpoints.

    python parts_test.py            # a few seconds
"""
import torch

import flow
import storage
import world
from autoencoder import VideoAE, from_state, initialise, widen
from common import Flat, Guard
from criteria import criteria
from data import objects
from train_autoencoder import outlines, pixel_loss


def test_guard_goes_back():
    """A loss that explodes, or is no number, brings the weights of the last good check back and halves the rate."""
    torch.manual_seed(0)
    flat = Flat([torch.nn.Linear(64, 64)], lambda n, p: p.ndim == 2)
    guard = Guard([flat], .1, slack=1.5, checks=0)
    assert guard.check(.06)
    good = flat.master.clone()
    for i, loss in enumerate((.5, float("nan"))):
        flat.master.add_(1.)
        assert not guard.check(loss) and guard.factor == .5 ** (i + 1)
        assert torch.equal(flat.master, good) and torch.equal(flat.work, good.to(flat.work.dtype))
    for _ in range(3): guard.check(1.)
    try: guard.check(1.)
    except RuntimeError as e: assert "diverges" in str(e)
    else: raise AssertionError("six falls must end the run")


def test_low_noise_share():
    torch.manual_seed(0)
    plain, more = (flow.sample_sigma(200000, "cpu", low=low) for low in (0., .3))
    assert (plain < .2).float().mean() < .04 and .13 < (more < .2).float().mean() < .16
    assert more.min() > 0 and more.max() <= 1


def test_objects_covers_the_four_frames_of_a_latent():
    cover = torch.zeros(1, 9, 16, 24, dtype=torch.uint8)
    cover[0, 0, 0, 0], cover[0, 5, 9, 23] = 1, 255                # frame 5 is the first of latent 2 (5 to 8)
    seen = objects(cover)
    assert seen.shape == (1, 3, 2, 3) and seen.nonzero().tolist() == [[0, 0, 0, 0], [0, 2, 1, 2]]


def test_a_widened_encoder_gives_the_same_latents():
    """And passes gradients to what was added; its widths are read off a checkpoint."""
    torch.manual_seed(0)
    initialise(old := VideoAE((8, 8, 8, 8)))
    for p in old.encoder.parameters(): p.data += .05 * torch.randn_like(p)
    new, x = widen(old, (8, 12, 20, 24)), torch.rand(2, 5, 3, 32, 32)
    z = new.encode(x)
    assert new.encoder_widths == from_state(new.state_dict()).encoder_widths == (8, 12, 20, 24)
    assert (z - old.encode(x)).abs().max() < 1e-5
    last = new.encoder[-1].weight
    assert torch.autograd.grad(z.square().sum(), last)[0][:, 8:].abs().amax((0, 2, 3)).count_nonzero() > 8 and not last[:, 8:].any()


def test_outlines_weigh_more():
    """A wrong pixel costs more along an object's outline than on it, and there more than elsewhere."""
    mask = torch.zeros(1, 2, 1, 24, 24)
    mask[..., 4:20, 4:20] = 1
    assert outlines(mask)[0, 0, 0, 12].tolist() == [0] * 2 + [1] * 4 + [0] * 12 + [1] * 4 + [0] * 2
    def cost(at, **kw):
        y = torch.zeros(1, 2, 3, 24, 24)
        y[..., 12, at] = 1
        return pixel_loss(y, torch.zeros_like(y), mask, **kw)[0].item()
    assert cost(4, outline=8.) > cost(12, outline=8.) > cost(0, outline=8.) and abs(cost(4) - cost(12)) < 1e-6


def test_guidance_ends_where_it_is_told():
    """A model that answers with its text: guidance shows in the steps above `until` only."""
    model = lambda x, t, ctx: torch.ones_like(x) * ctx.mean((1, 2))[:, None, None, None, None]
    x, ctx, null = torch.zeros(1, 1, 1, 2, 2), torch.ones(1, 2, 2), torch.zeros(1, 2, 2)
    end = lambda **kw: flow.sample(model, x, ctx, null, sigmas=[1., .5, 0.], **kw).mean().item()
    assert abs(end(cfg=3.) + 3) < 1e-6 and abs(end(cfg=3., until=.5) + 2) < 1e-6 and abs(end() + 1) < 1e-6


def test_storage():
    """Half a scale at most, exactly at a group's ends, and fewer bits for what the rules name."""
    torch.manual_seed(0)
    w = torch.randn(6, 3, 7, 5)                                    # rows of 105: groups of 64 and 41
    for bits in (8, 6):
        e, rows = (storage.affine(w, bits) - w).abs().flatten(1), w.flatten(1)
        for part in (slice(0, 64), slice(64, 105)):
            scale = (rows[:, part].amax(1) - rows[:, part].amin(1)) / (2 ** bits - 1)
            assert (e[:, part].amax(1) < .51 * scale + 2e-3).all()
    rules = storage.shipped_rules()
    said = lambda name, *shape: storage.form(name, torch.zeros(shape), rules)
    assert said("transformer_fewstep/blocks.0.ffn.net.2.weight", 256, 1024) == "int7" and said("transformer/blocks.0.attn1.to_q.weight", 256, 256) == "int6"
    assert said("transformer_fewstep/proj_out.weight", 64, 256) is None and said("vae/decoder.3.conv.0.weight", 8, 8, 3, 3) == "int8" and said("vae/decoder.1.bias", 8) is None


def test_harder_scenes():
    """Shares of shapes and of what turns; balls move as ever."""
    s = world.sample_scenes(20000, torch.Generator().manual_seed(1), **world.HARDER)
    share = [(s["shape"] == k).float().mean().item() for k in range(6)]
    assert abs(share[1] - .39) < .01 and abs(share[5] - .24) < .01 and min(share) > .08, share
    turns = torch.isin(s["motion"][:, 0], torch.tensor(world.TURNS))
    def turning(shape): return turns[~s["two"] & (s["shape"][:, 0] == shape)].float().mean().item()
    assert abs(turning(1) - (.4 + .6 * 3 / 11)) < .03 and abs(turning(0) - 3 / 11) < .04


def test_criteria():
    """A missing row is not met; what is met turns with the numbers."""
    rows = {"renders": {"dynamic": 1.}, "renders through the autoencoder": {"mean": 99., "frechet": 10.}, "base, 30 steps, guidance 2.5": {"mean": 98., "frechet": 14., "dynamic": 1.05}}
    met = {asked: ok for asked, _, ok in criteria(rows, "student_ode")}
    assert met["base within 2 points of the autoencoder's row"] and met["dynamic degree of the base within 10 % of renders"]
    assert not met["Fréchet distance of the base <= 1.3 x the autoencoder's"] and not met["autoencoder >= 35 dB"]
    cubes = {"cubes: renders": {"bent": .6, "hollow": .8}, "cubes: student_ode, 4 steps": {"bent": .65, "hollow": 1.9}}
    met = {asked: ok for asked, _, ok in criteria(cubes, "student_ode")}
    assert [ok for asked, ok in met.items() if "cubes" in asked] == [True, False]


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"): test(); print(name, "passed", flush=True)
