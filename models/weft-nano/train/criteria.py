"""What was asked of weft-nano, against the scores of an evaluation.

    python criteria.py work/scores.json [student_ode]      # two tables for EVALUATION.md; fails if a line is not met

Cubes have straight edges when their outlines are within BENT and HOLLOW (edges.py) of renders': by eye that is a cube that the
autoencoder of 2026-11-30 shows at rest or moving without turning.
"""
import json
import sys

COLUMNS = ["shape", "colour", "motion", "ground", "sky", "camera", "mean", "partner", "frechet", "dynamic", "pulse"]
BENT, HOLLOW = .3, .4                   # by how much a student's cubes may be more bent and more hollow than renders


def find(rows, start, end=""):
    return next((r for name, r in rows.items() if name.startswith(start) and name.endswith(end)), {})


def criteria(rows, student):
    """[(what was asked, what was reached, met)]; a row that is missing is not met."""
    ae, renders, through = rows.get("autoencoder", {}), rows.get("renders", {}), rows.get("renders through the autoencoder", {})
    base, few = find(rows, "base, ", "2.5"), find(rows, f"{student}, 4 steps")
    int8, stored = find(rows, f"{student}, 4 steps, int8"), find(rows, f"{student}, 4 steps, as shipped")
    cubes, drawn = rows.get("cubes: renders", {}), find(rows, f"cubes: {student}, 4 steps")
    heads = COLUMNS[:6]
    def line(asked, reached, met):
        try: return asked, reached(), bool(met())
        except (KeyError, ValueError): return asked, "not measured", False
    ratio = lambda r, k, to: r[k] / to[k]
    return [
        line("autoencoder >= 35 dB", lambda: f"{ae['psnr']} ± {ae['psnr_ci']}", lambda: ae["psnr"] >= 35),
        line("its worst clip >= 29 dB", lambda: f"{ae['worst']}", lambda: ae["worst"] >= 29),
        line("base within 2 points of the autoencoder's row", lambda: f"{base['mean'] - through['mean']:+.2f}", lambda: base["mean"] >= through["mean"] - 2),
        line("student within 1 point of the base", lambda: f"{few['mean'] - base['mean']:+.2f}", lambda: few["mean"] >= base["mean"] - 1),
        *[line(f"Fréchet distance of the {n} <= 1.3 x the autoencoder's", lambda r=r: f"{ratio(r, 'frechet', through):.2f}", lambda r=r: ratio(r, "frechet", through) <= 1.3) for n, r in (("base", base), ("student", few))],
        *[line(f"dynamic degree of the {n} within 10 % of renders", lambda r=r: f"{100 * ratio(r, 'dynamic', renders) - 100:+.1f} %", lambda r=r: abs(ratio(r, "dynamic", renders) - 1) <= .1) for n, r in (("base", base), ("student", few))],
        line("judge's ceiling >= 97 % in every attribute", lambda: f"{min(renders[k] for k in heads)}", lambda: min(renders[k] for k in heads) >= 97),
        line("int8 storage costs <= 0.5 points", lambda: f"{few['mean'] - int8['mean']:.2f}", lambda: few["mean"] - int8["mean"] <= .5),
        line("storage as shipped costs <= 0.5 points", lambda: f"{few['mean'] - stored['mean']:.2f}", lambda: few["mean"] - stored["mean"] <= .5),
        line(f"cubes at most {BENT} more bent than in renders", lambda: f"{drawn['bent']} against {cubes['bent']}", lambda: drawn["bent"] <= cubes["bent"] + BENT),
        line(f"cubes at most {HOLLOW} more hollow than in renders", lambda: f"{drawn['hollow']} against {cubes['hollow']}", lambda: drawn["hollow"] <= cubes["hollow"] + HOLLOW)]


def table(head, lines):
    return "\n".join(["| " + " | ".join(str(x) for x in cells) + " |" for cells in (head, ["---"] * len(head), *lines)])


def main(path, student="student_ode"):
    with open(path) as f: rows = json.load(f)
    print(table(["videos", *COLUMNS], [[name, *(f"{r['mean']} ± {r['mean_ci']}" if k == "mean" else r[k] for k in COLUMNS)] for name, r in rows.items() if "mean_ci" in r]))
    print("\n" + table(["cubes", "bent", "hollow", "seen"], [[name[7:], f"{r['bent']} ± {r['bent_ci']}", f"{r['hollow']} ± {r['hollow_ci']}", r["seen"]] for name, r in rows.items() if "bent" in r]))
    found = criteria(rows, student)
    print("\n" + table(["asked", "reached", "met"], [(a, r, "yes" if met else "**no**") for a, r, met in found]))
    return all(met for *_, met in found)


if __name__ == "__main__": sys.exit(not main(*sys.argv[1:]))
