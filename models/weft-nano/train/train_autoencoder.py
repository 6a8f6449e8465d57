"""Autoencoder training in three parts of one wall-clock budget: both halves with live latent statistics, both with
frozen statistics, and the decoder alone after exact normalisation has been folded into the encoder. The last part can be
run again on its own (`start`): latents stay what they are, so transformers trained on them go on fitting. Given a student
it learns, on half of its clips, to decode what the student's last step makes of them. The last two parts can be run again as
well (`whole`): then the encoder, widened where it was narrower, keeps near its old latents, to which a transformer has to be trained on."""
import json
import math
import time

import torch
import torch.nn.functional as F

import captions
import render
import world
from autoencoder import ENC_WIDTHS, LATENT, VideoAE, decode_latents, encode_latents, from_state, initialise, load_ae, widen
from common import Budget, Flat, Graphed, Guard, barrier, log, mean_over_ranks, rank, trapezoid
from flow import FEWSTEP, load_models, over, velocity
from text_encoder import encode_text
from transformer import compile_blocks

LIVE, FROZEN = .48, .72             # shares of the budget at which statistics freeze and the encoder is finished
AGAIN, SLOWLY = .82, .12            # the latter where both halves are trained on, and the part of it in which rates rise: what is new is in nobody's way yet
CLIP = 17
RESUMED, WHOLE = .3, .4             # parts of the learning rates at which a decoder, and both halves, are trained on
OBJECTS, OUTLINES = 4., 8.          # weight then on objects, and on their outlines
ANCHOR = .06                       # and on the squared distance from the old latents
MUON, ADAM = 2e-3, 1e-3            # learning rates; a Muon rate of 4e-3 diverges with this decoder


def difference(x, dim): return x.narrow(dim, 1, x.shape[dim] - 1) - x.narrow(dim, 0, x.shape[dim] - 1)


def outlines(mask, reach=2):
    """Objects' coverage [n, t, 1, h, w] -> how much it changes within `reach` pixels: 1 along their outlines."""
    m = mask.flatten(0, 1)
    most, least = (s * F.max_pool2d(s * m, 2 * reach + 1, 1, reach) for s in (1, -1))
    return (most - least).view_as(mask)


def pixel_loss(y, x, mask, objects=1.5, outline=0.):
    """L1 + L2 + gradients of space and time, weighted towards objects and their outlines (so much more) and edges. y, x [n, t, 3, h, w],
    mask [n, t, 1, h, w]."""
    y, x = y.float(), x.float()
    g = x.mean(2, keepdim=True)
    edge = F.pad(difference(g, 4).abs(), (0, 1)) + F.pad(difference(g, 3).abs(), (0, 0, 0, 1))
    w = 1 + objects * mask.float() + 2 * (6 * edge).clamp(max=1)
    if outline: w = w + outline * outlines(mask.float())
    d = y - x
    moving = torch.maximum(w[:, 1:], w[:, :-1])          # all four frames of a latent must move, not only at its border
    sharp = (w[..., 1:] * difference(d, 4).abs()).mean() + (w[..., 1:, :] * difference(d, 3).abs()).mean() + (moving * difference(d, 1).abs()).mean()
    return (w * d.abs()).mean() + 4 * (w * d.square()).mean() + .5 * sharp, d.square().mean()


def render_pool(n, gen, dev, frames=33, share=world.PLAIN):
    """Scenes, in parts of 256, and uint8 [n, frames, 4, 128, 128]: colour and object coverage."""
    scenes = [world.sample_scenes(min(256, n - i), gen, dev, **share) for i in range(0, n, 256)]
    return scenes, torch.cat([render.render_frames(world.pack(s, frames), mask=True) for s in scenes])


class LastStep:
    """A student's last step as a source of latents with its own faults whose truth is known: real latents are noised to
    the level from which the student goes to 0 in one step, and it takes that step."""

    def __init__(self, path, scenes, dev, compile):
        self.dit, te = load_models(path, dev)
        if compile: compile_blocks(self.dit)
        ids = torch.cat([captions.caption_ids(s, 1, 71 + 1000 * rank() + i)[:, 0] for i, s in enumerate(scenes)])
        self.text = torch.cat([encode_text(te, b.to(dev).long()).half() for b in ids.split(512)])

    @torch.no_grad()
    def __call__(self, z, i):
        """Latents [n, L, 16, h, w] of the pool's videos i [n]."""
        x, s = z.transpose(1, 2), torch.full((len(z),), FEWSTEP[-2], device=z.device)
        x = (1 - over(s)) * x + over(s) * torch.randn_like(x)
        return (x - over(s) * velocity(self.dit, x, s, self.text[i].float())).transpose(1, 2)


class Trainer:
    """Everything that one training step touches, with persistent buffers so that steps can be captured as graphs."""

    def __init__(self, dev, vids, batch, compile, last_step=None, loss=pixel_loss, widths=ENC_WIDTHS):
        torch.manual_seed(0)
        self.ae, self.last_step, self.anchor = VideoAE(widths), last_step, None
        initialise(self.ae)
        self.ae.to(dev)
        self.dev, self.vids, self.batch = dev, vids, batch
        edge = {"0.0.weight", "0.17.weight", "0.1.weight", "0.22.weight"}
        def matrix(n, p): return p.ndim == 4 and n not in edge
        self.enc, self.dec = Flat([self.ae.encoder], matrix), Flat([self.ae.decoder], matrix)
        self.mean, self.var = torch.zeros(LATENT, device=dev), torch.ones(LATENT, device=dev)
        self.stat, self.fixed = torch.zeros(3, device=dev), VideoAE(widths).to(dev, torch.float16 if dev.type == "cuda" else torch.float32).requires_grad_(False)
        self.loss = torch.compile(loss, dynamic=False) if compile else loss
        self.encode, self.decode = (torch.compile(f, dynamic=False) if compile else f for f in (self.ae.encode, self.ae.decode))
        torch.manual_seed(100 + rank())

    def clip(self):
        n, t = self.batch, self.vids.shape[1]
        i = torch.randint(len(self.vids), (n, 1), device=self.dev)
        k = torch.randint(t - CLIP + 1, (n, 1), device=self.dev) + torch.arange(CLIP, device=self.dev)
        x = self.vids[i, k].to(self.dec.work.dtype) / 255
        return x[:, :, :3], x[:, :, 3:], i[:, 0]

    def normalised(self, raw, live):
        if live:
            m, v = raw.mean((0, 1, 3, 4)), raw.var((0, 1, 3, 4))
            with torch.no_grad(): self.mean.lerp_(m, .02); self.var.lerp_(v, .02)
        else: m, v = self.mean, self.var
        return (raw - m[:, None, None]) / (v[:, None, None] + 1e-5).sqrt(), (v + 1e-5).log().square().mean()

    @torch.no_grad()
    def latents(self, ae, x):
        """Of clips x, by a finished encoder."""
        return ae.encode(x.to(ae.encoder[0].weight.dtype)).float()

    def step(self, live, encoder=True):
        """Loss and gradients of one random batch."""
        x, mask, i = self.clip()
        if encoder: z, scale = self.normalised(self.encode(x).float(), live)
        else:
            z, half = self.latents(self.fixed, x), len(x) // 2
            if self.last_step: z = torch.cat([self.last_step(z[:half], i[:half]), z[half:]])
            z.requires_grad_()                             # as in the other parts, so that the decoder is not compiled once more
        noisy = z + torch.randn_like(z) * (.12 * torch.rand(len(z), 1, 1, 1, 1, device=self.dev))
        loss, mse = self.loss(self.decode(noisy.to(x.dtype)), x, mask)
        total = loss + 1e-3 * F.relu(z.abs() - 3.).square().mean() + (.003 * scale if live else 0.)      # a free scale would run away
        moved = F.mse_loss(z, self.latents(self.anchor, x)) if encoder and self.anchor else torch.zeros_like(mse)
        total = total + ANCHOR * moved
        if encoder:           # half-size latents must decode to half-size frames: smoother latents are easier to generate
            k = max(1, self.batch // 4)
            half = F.avg_pool2d(z[:k].flatten(0, 1), 2).unflatten(0, (k, -1)).to(x.dtype)
            small = F.avg_pool2d(x[:k].flatten(0, 1), 2).unflatten(0, (k, -1))
            total = total + .15 * (self.ae.decode(half) - small).float().abs().mean()
        params = (self.enc.params if encoder else []) + self.dec.params
        grads = torch.autograd.grad(total, params)
        with torch.no_grad():
            torch._foreach_copy_((self.enc.grad_views if encoder else []) + self.dec.grad_views, grads)
            self.stat += torch.stack([mse.detach(), moved.detach(), torch.ones_like(mse)])

    def update(self, encoder=True):
        for f in ((self.enc, self.dec) if encoder else (self.dec,)): f.update(MUON, ADAM, weight_decay=.1, clip=.5)

    @torch.no_grad()
    def finish_encoder(self):
        """Put the averaged encoder into `fixed`, with the exact mean and variance of its latents, over all processes, folded in;
        where latents were held near older ones these have been normalised already."""
        self.enc.load(self.enc.ema.clone())
        self.dec.ema.copy_(self.dec.master)                # the average starts again with the latents that count
        if self.anchor:
            self.fixed.encoder.load_state_dict(self.enc.state())
            return
        s, q = torch.zeros_like(self.mean), torch.zeros_like(self.mean)
        for v in (parts := self.vids[:1024].split(64)):
            z = self.ae.encode(v[:, :, :3].to(self.enc.work.dtype) / 255).float()
            s += z.mean((0, 1, 3, 4)) / len(parts); q += z.square().mean((0, 1, 3, 4)) / len(parts)
        mean_over_ranks(s, q)
        sd, last, std = self.enc.state(), str(len(self.ae.encoder) - 1), (q - s * s + 1e-5).sqrt()
        sd[last + ".weight"] /= std[:, None, None, None]
        sd[last + ".bias"] = (sd[last + ".bias"] - s) / std
        self.fixed.encoder.load_state_dict(sd)

    def save(self, out):
        """The finished encoder and the average of the decoder so far."""
        kept = {f"encoder.{k}": v for k, v in self.fixed.encoder.state_dict().items()} | {f"decoder.{k}": v for k, v in self.dec.state().items()}
        if rank() == 0: torch.save({k: v.half().cpu() for k, v in kept.items()}, out)

    @torch.no_grad()
    def load(self, old, whole=False):
        """A finished autoencoder that is to be trained on; with `whole` it also holds the new latents near its own."""
        if whole: self.anchor = old.to(self.dev, self.fixed.encoder[0].weight.dtype, memory_format=torch.channels_last).requires_grad_(False)
        sd = (widen(old, self.ae.encoder_widths) if whole else old).state_dict()
        self.fixed.load_state_dict(sd)
        for part, flat in (("encoder.", self.enc), ("decoder.", self.dec)):
            for n, s, o in zip(flat.names, flat.shapes, flat.offsets): flat._view(flat.master, s, o).copy_(sd[part + n[2:]])
            flat.load(flat.master.clone())


def train_autoencoder(seconds, out, dev, batch=16, pool=4096, compile=True, start=None, student=None, whole=False):
    """Train within `seconds` (rendering of the pool included) and save to `out`; with `start`, the decoder of that file
    only, at a lower rate, and with `student` for that student's latents too; with `whole` its encoder as well, first."""
    Graphed.new_pool()
    budget, harder = Budget(seconds), bool(student or whole)
    rate, frozen, warm = (WHOLE, AGAIN, SLOWLY) if whole else (RESUMED if start else 1., FROZEN, .04)
    old = start and from_state(torch.load(start, map_location="cpu"))
    scenes, vids = render_pool(pool, torch.Generator().manual_seed(11 + rank()), dev, share=world.HARDER if harder else world.PLAIN)
    loss = (lambda y, x, mask: pixel_loss(y, x, mask, OBJECTS, OUTLINES)) if harder else pixel_loss
    tr = Trainer(dev, vids, batch, compile, student and LastStep(student, scenes, dev, compile), loss, old.encoder_widths if start and not whole else ENC_WIDTHS)
    log("autoencoder pool", tuple(vids.shape))
    if start:
        tr.load(old, whole)
        tr.save(out)
    alone = (Graphed(lambda: tr.step(False, encoder=False)), Graphed(lambda: tr.update(False)))
    parts = [alone]
    if whole or not start: parts = [(Graphed(lambda: tr.step(False)), both := Graphed(tr.update)), alone]
    if not start: parts = [(Graphed(lambda: tr.step(True)), both), *parts]
    log("autoencoder captured")
    tr.stat.zero_()
    guard, t0, step, part, p, begin = Guard([tr.enc, tr.dec], .3, [tr.mean, tr.var], slack=3.), time.time(), 0, 3 - len(parts), 0., 0
    while (p := budget.advance()) < 1:
        if part == 0 and p > LIVE:
            mean_over_ranks(tr.mean, tr.var)
            part = 1
        if part == 1 and p > frozen:
            tr.finish_encoder()
            guard.check(guard.best)                       # never back to before this point
            part, begin = 2, step
        tr.enc.set(rate * guard.factor * trapezoid(p / frozen, warm), min(.998, 1 - 1 / (step + 2)))
        tr.dec.set(rate * guard.factor * trapezoid(p, .75 * warm), min(.998, 1 - 1 / (step - begin + 2)))
        forward, update = parts[part - 3 + len(parts)]
        forward()
        if part < 2: tr.enc.all_reduce()
        tr.dec.all_reduce()
        update()
        step += 1
        if step % 50 == 0:
            mean_over_ranks(tr.stat)
            mse, moved, n = tr.stat.tolist()
            if guard.check(mse / n) and (step % 250 == 0 or step == 50): log(f"autoencoder step {step} part {part} p {p:.2f} psnr {-10 * math.log10(mse / n):.2f}" + f" latents moved {moved / n:.4f}" * (moved > 0))
            tr.stat.zero_()
            if part == 2 and step % 1000 == 0: tr.save(out)            # usable from here on, whatever happens
    if part < 2: tr.finish_encoder()
    tr.save(out)
    barrier()
    log(f"autoencoder done, {step} steps, {1000 * (time.time() - t0) / max(1, step):.1f} ms each")


def held_out(ae, dev, n=64, frames=33, size=(128, 128)):
    """PSNR per clip on fresh renders, and the last batch with its reconstruction."""
    gen, out, stats = torch.Generator().manual_seed(99), [], []
    for k in torch.ones(n).split(16):
        x = render.render_frames(world.pack(world.sample_scenes(len(k), gen, dev), frames), size)
        z = encode_latents(ae, x)
        y = decode_latents(ae, z)
        stats.append(z.float())
        out.append(-10 * (y.float() / 255 - x.float() / 255).square().mean((1, 2, 3, 4)).log10())
    z = torch.cat(stats)
    return torch.cat(out), z.mean((0, 2, 3, 4)), z.std((0, 2, 3, 4)), (x, y)


def report(out, dev, n=64):
    """Log held-out quality of a saved autoencoder and write it beside it as JSON. Returns the autoencoder and its mean PSNR."""
    ae = load_ae(out, dev)
    psnr, mean, std, _ = held_out(ae, dev, n)
    if rank() == 0:
        with open(out.removesuffix(".pt") + ".json", "w") as f: json.dump({"psnr": psnr.mean().item(), "worst": psnr.min().item()}, f)
    log(f"held-out psnr {psnr.mean():.2f} (worst {psnr.min():.2f}); latent mean |{mean.abs().max():.3f}| std {std.min():.3f}..{std.max():.3f}")
    return ae, psnr.mean().item()
