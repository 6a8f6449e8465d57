"""Words for scenes: a small synonym grammar, its closed vocabulary and the tokenizer file.

Ids 0-157 are those of the first weft-nano; later words are appended, so old ids keep their meaning.
"""
import random
import re

import torch

from world import CIRCLE, COLOUR_NAMES, LEFT, PUSH_LEFT, PUSH_RIGHT, REST_STILL, RIGHT

MAX_LEN = 64
W_SHAPE = [["ball", "ball", "sphere"], ["cube", "cube", "box"], ["cylinder"], ["cone"], ["ring", "torus", "donut"], ["pyramid"]]
W_COLOUR = {"cyan": ["cyan", "turquoise"], "purple": ["purple", "violet"]}
W_SIZE = [["small", "little", "tiny"], ["large", "big", "huge"]]
W_SHINY = [["matte", "dull"], ["shiny", "glossy", "polished"]]
W_MOTION = [  # (third person, participle)
    [("bounces", "bouncing"), ("bounces up and down", "bouncing up and down"), ("jumps", "jumping")],
    [("rolls left", "rolling left"), ("rolls to the left", "rolling to the left")],
    [("rolls right", "rolling right"), ("rolls to the right", "rolling to the right")],
    [("spins", "spinning"), ("rotates", "rotating"), ("turns around", "turning around")],
    [("rises", "rising"), ("floats up", "floating up"), ("flies up", "flying up")],
    [("falls", "falling"), ("drops down", "dropping down"), ("falls down", "falling down")],
    [("circles", "circling"), ("moves in a circle", "moving in a circle"), ("orbits", "orbiting")],
    [("grows", "growing"), ("gets bigger", "getting bigger"), ("expands", "expanding")],
    [("shrinks", "shrinking"), ("gets smaller", "getting smaller")],
    [("stands still", "standing still"), ("rests", "resting"), ("sits", "sitting")],
    [("slides toward the camera", "sliding toward the camera"), ("comes closer", "coming closer"), ("approaches the camera", "approaching the camera")]]
W_GROUND = [["on grass", "on the grass", "on a grassy field", "in a meadow"], ["on sand", "on the sand", "in the desert", "on a sandy beach"],
            ["on snow", "in the snow", "on a snowy field"], ["on a checkered floor", "on a chessboard", "on checkered tiles"],
            ["on water", "on the water", "on the sea", "on the ocean"]]
W_SKY = [["in daylight", "under a blue sky", "on a sunny day", "during the day"], ["at sunset", "at dusk", "in the evening", "under an orange sky"],
         ["at night", "under the stars", "under a starry sky", "in the moonlight"], ["under an overcast sky", "on a cloudy day", "under grey clouds", "on a grey day"]]
W_CAM = [["static camera", "the camera stands still", "fixed camera"], ["the camera orbits left", "camera orbiting left", "the camera moves around to the left"],
         ["the camera orbits right", "camera orbiting right", "the camera moves around to the right"], ["the camera zooms in", "camera zooming in", "the camera moves closer"],
         ["the camera zooms out", "camera zooming out", "the camera moves back"], ["the camera pans left", "camera panning left"], ["the camera pans right", "camera panning right"]]
EXTRA = "a an the and while next to near of with is video that scene showing , .".split()
LATER_WORDS = ["behind", "pushes", "pushing"]


def vocabulary():
    """Word -> id."""
    words = set(EXTRA) | set(COLOUR_NAMES)
    def add(o):
        if isinstance(o, str): words.update(re.findall(r"\w+|[^\w\s]+", o))
        else: [add(x) for x in (o.values() if isinstance(o, dict) else o)]
    for o in (W_SHAPE, W_COLOUR, W_SIZE, W_SHINY, W_MOTION, W_GROUND, W_SKY, W_CAM): add(o)
    return {w: i for i, w in enumerate(["<pad>", "</s>", "<unk>"] + sorted(words) + LATER_WORDS)}


def attributes(s, i):
    """Plain-python attributes of scene i."""
    return {k: s[k][i].tolist() for k in s if k != "jit"}


def _object(a, i, rng, drop):
    w = []
    if not drop(.15): w.append(rng.choice(W_SIZE[a["size"][i]]))
    if not drop(.15 if a["shiny"][i] else .4): w.append(rng.choice(W_SHINY[a["shiny"][i]]))
    name = COLOUR_NAMES[a["colour"][i]]
    w += [rng.choice(W_COLOUR.get(name, [name])), rng.choice(W_SHAPE[a["shape"][i]])]
    return ("an " if w[0][0] in "aeiou" else "a ") + " ".join(w)


def _pair(a, rng, one, other, ing):
    """Two objects: what the first does to the second, or both side by side."""
    lead, partner = a["motion"]
    if lead == CIRCLE:
        verb = rng.choice(["circles around", "orbits around", "moves in a circle around"] if not ing else ["circling around", "orbiting around", "moving in a circle around"])
        return f"{one} {verb} {other}"
    if lead in (LEFT, RIGHT): return f"{one} {rng.choice(W_MOTION[lead])[ing]} behind {other}"
    if lead in (PUSH_LEFT, PUSH_RIGHT):
        side = "left" if lead == PUSH_LEFT else "right"
        return f"{one} {'pushing' if ing else 'pushes'} {other} {rng.choice([f'to the {side}', side])}"
    relation = "to the right of" if a["flip"] else rng.choice(["to the left of", "to the left of", "next to", "and", "while"])
    said = lambda i: rng.choice(W_MOTION[a["motion"][i]])[ing]
    quiet = lead == REST_STILL and partner == REST_STILL
    if relation == "while": return f"{one} {said(0)} while {other} {said(1)}"
    if quiet and rng.random() < .5: return f"{one} {relation} {other}"                # "a cone and a ball, on grass"
    if quiet and relation == "and": return f"{one} and {other} standing still"
    if quiet: return f"{one} {said(0)} {relation} {other}"
    if relation == "and": return f"{one} {said(0)} and {other} {said(1)}"
    if partner == REST_STILL and rng.random() < .6: return f"{one} {said(0)} {relation} {other}"
    return f"{one} {said(0)} {relation} {other} {rng.choice(W_MOTION[partner])[1]}"


def caption(a, rng, full=False):
    """One wording of the attributes; optional details are dropped now and then unless `full`."""
    def drop(p): return (not full) and rng.random() < p
    ing = int(rng.random() < .3)
    one = _object(a, 0, rng, drop)
    if a["two"]: subject = _pair(a, rng, one, _object(a, 1, rng, drop), ing)
    elif a["motion"][0] == REST_STILL and drop(.35): subject = one
    else: subject = f"{one} {rng.choice(W_MOTION[a['motion'][0]])[ing]}"
    ground = None if drop(.06) else rng.choice(W_GROUND[a["ground"]])
    sky = None if drop(.06) else rng.choice(W_SKY[a["sky"]])
    camera = None if (a["camera"] == 0 and rng.random() < .6) else rng.choice(W_CAM[a["camera"]])
    style, tail = rng.random(), f", {camera}" if camera else ""
    def join(sep, *parts): return sep.join(x for x in parts if x)
    if style < .6: text = join(" ", subject, ground, sky) + tail
    elif style < .75: text = (f"{sky}, " if sky else "") + join(" ", subject, ground) + tail
    elif style < .9: text = join(", ", subject, ground, sky, camera)
    else: text = (f"{camera}, " if camera else "") + join(" ", subject, ground, sky)
    return "a video of " + text if rng.random() < .08 else text


_V = None


def tokenize(text):
    """Token ids of one text (without padding), the same as tokenizer.json gives."""
    global _V
    _V = _V or vocabulary()
    return [_V.get(w, 2) for w in re.findall(r"\w+|[^\w\s]+", text.lower())][:MAX_LEN - 1] + [1]


def encode_captions(texts):
    """Padded ids [n, 64]."""
    ids = torch.zeros(len(texts), MAX_LEN, dtype=torch.long)
    for i, t in enumerate(texts):
        k = tokenize(t)
        ids[i, :len(k)] = torch.tensor(k)
    return ids


def caption_ids(scenes, variants, seed):
    """[n, variants, 64] token ids; 8 % of captions get a stray <unk>, so that unknown words are harmless."""
    rng, n = random.Random(seed), len(scenes["two"])
    columns = {k: v.tolist() for k, v in scenes.items() if k != "jit"}
    out = torch.zeros(n, variants, MAX_LEN, dtype=torch.int16).numpy()
    for i in range(n):
        a = {k: c[i] for k, c in columns.items()}
        for v in range(variants):
            k = tokenize(caption(a, rng))
            if rng.random() < .08: k.insert(rng.randrange(len(k)), 2)
            out[i, v, :len(k)] = k[:MAX_LEN]
    return torch.from_numpy(out)


def tokenizer_json():
    """A Hugging Face `tokenizers` file: lower case, split at spaces and punctuation, closed vocabulary, </s> appended."""
    special = [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, t in enumerate(["<pad>", "</s>", "<unk>"])]
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    def seq(name): return {"Sequence": {"id": name, "type_id": 0}}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing", "single": [seq("A"), end], "pair": [seq("A"), end, seq("B"), end],
                               "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
            "decoder": None, "model": {"type": "WordLevel", "vocab": vocabulary(), "unk_token": "<unk>"}}
