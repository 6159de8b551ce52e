"""report.md, from what the stages have found. Nothing but the standard library is needed."""

from . import model
from .stages import STAGES

ORDER = ("float32", "TF32", "bf16")


def text(found):
    """The whole page.

    Args:
        found: what `report.json` holds.
    """
    stages = {name: found["stages"][name] for name in STAGES if name in found["stages"]}
    limits = {r["limit"]: r["value"] for r in rows(stages, "card") if "limit" in r}
    card = next((r["card"] for r in rows(stages, "card") if "card" in r), "no card")
    parts = [f"# tinyddpm on {card}", f"Made {found['made']} by `python -m benchmarks.gpu_report`."]
    if found.get("tiny"):
        parts.append("**Tiny sizes: no time here means anything.**")
    parts += [overview(stages), *verdicts(stages), *comparison(stages, limits)]
    for name, stage in stages.items():
        parts += [f"## {STAGES[name].title}", *section(stage)]
    return "\n\n".join(parts) + "\n"


def rows(stages, name):
    return stages.get(name, {}).get("rows", [])


def overview(stages):
    lines = ["| stage | ended | seconds |", "|---|---|---:|"]
    for name, stage in stages.items():
        link = f"[{STAGES[name].title}](#{anchor(STAGES[name].title)})"
        lines.append(f"| {link} | {stage['ended']} | {stage['seconds']} |")
    return "\n".join(lines)


def anchor(title):
    """As GitHub makes it."""
    kept = "".join(c for c in title.lower() if c.isalnum() or c in " -_")
    return kept.replace(" ", "-")


# ---- what a reader wants to know first -----------------------------------------------------------


def verdicts(stages):
    """One sentence each: do the tests pass, are the gradients right, does the recipe follow."""
    said = []
    counts = [r for r in rows(stages, "tests") if "passed" in r]
    if counts:
        last = counts[-1]
        whole = "" if "status" in last else ", as far as they came"
        said.append(f"tests: {last['passed']} passed, {last['failed tests']} failed{whole}")
    compared = [r for r in rows(stages, "gradients") if "as expected" in r]
    if compared:
        good = sum(r["as expected"] for r in compared)
        said.append(f"gradients: {good} of {len(compared)} as the CPU's, to rounding")
    for name in ("digits", "fashion"):
        curve = [r for r in rows(stages, name) if "expected" in r]
        if curve:
            off = curve[-1]
            said.append(
                f"{name}: held-out J after {off['step']} steps {off['held-out J']}, "
                f"expected {off['expected']} ({off['by']})"
            )
    return ["\n".join(f"- {line}" for line in said)] if said else []


def comparison(stages, limits):
    """The training step: prediction beside measurement, ours beside PyTorch's."""
    own = {r["case"]: r for r in rows(stages, "step") if "case" in r}
    theirs = {}
    for name in ("torch", "compile"):
        for r in rows(stages, name):
            if "peer" in r:
                theirs.setdefault((r["case"], r["how"], r["peer"] == "torch.compile"), []).append(
                    r["ms"]
                )
    if not own and not theirs:
        return []
    card = model.measured(limits) or model.CARDS["H200"]
    cases = list(dict.fromkeys([*own, *(case for case, _, _ in theirs)]))
    head = ["case", "precision", "predicted, H200", "predicted, this card", "**ours**"]
    head += ["PyTorch predicted", "PyTorch eager", "torch.compile", "ours / eager"]
    lines = [line(head), line(["---", "---", *["---:"] * 7])]
    for case in cases:
        for how in ORDER:
            measured = own.get(case, {}).get(f"{how}, ms")
            eager, compiled = (
                min(theirs.get((case, how, flag), []), default=None) for flag in (False, True)
            )
            if measured is None and eager is None and compiled is None:
                continue
            ratio = f"{measured / eager:.2f}" if measured and eager else ""
            known = how in model.PEAKS
            predicted = [
                of_model(case, model.OURS, model.CARDS["H200"], how) if known else "",
                of_model(case, model.OURS, card, how) if known else "",
            ]
            peer = of_model(case, model.PEER, card, how) if known else ""
            cells = [
                case,
                how,
                *predicted,
                cell(measured),
                peer,
                cell(eager),
                cell(compiled),
                ratio,
            ]
            lines.append(line(cells))
    about = (
        "Milliseconds. Predictions are those of `benchmarks/gpu_report/model.py`: from the "
        "launches, bytes and FLOP of a step, once with the figures of an H200's data sheet, once "
        "with the bandwidth, products and costs of a launch measured here "
        f"({card.name}). PyTorch eager is the faster of its two memory formats."
    )
    return ["## The training step, in short", about, "\n".join(lines)]


def of_model(case, who, card, how):
    launches = model.counts(case, who)
    return cell(model.predict(launches, card, how).step) if launches else ""


# ---- the sections --------------------------------------------------------------------------------


def section(stage):
    """Everything that a stage has found, as tables: rows with the same columns stand together."""
    parts, table = [], []

    def flush():
        if table:
            parts.append(as_table(table))
            table.clear()

    for row in stage["rows"]:
        if set(row) == {"note"}:
            flush()
            parts.append(row["note"])
        elif "missing" in row:
            flush()
            parts.append(f"{row['missing']} is missing: {row['why']}.")
        elif "failed" in row:
            flush()
            parts.append(f"**{row['failed']}** failed: {row['error']}")
        elif "failure" in row:
            flush()
            parts.append(f"`{row['test']}` failed ({row['when']}):\n\n{fenced(row['failure'])}")
        elif "samples" in row:
            flush()
            parts.append(f"{row['of']}, {row['seconds']} s:\n\n![samples]({row['samples']})")
        else:
            if table and list(table[0]) != list(row):
                flush()
            table.append(row)
    flush()
    if not stage["ended"].startswith("done"):
        parts.append(f"This stage: {stage['ended']}.")
        if stage["printed"].strip():
            parts.append(f"The end of what it printed:\n\n{fenced(stage['printed'])}")
    return parts


def as_table(table):
    """Rows of the same columns. A single one is read from top to bottom."""
    if len(table) == 1:
        pairs = [line([name, cell(value)]) for name, value in flat(table[0]).items()]
        return "\n".join([line(["", ""]), line(["---", "---"]), *pairs])
    marks = ["---:" if isinstance(v, (int, float)) else "---" for v in table[0].values()]
    body = [line(map(cell, row.values())) for row in table]
    return "\n".join([line(table[0]), line(marks), *body])


def flat(row):
    """The row, with dictionaries in it spread out."""
    found = {}
    for name, value in row.items():
        found |= value if isinstance(value, dict) else {name: value}
    return found


def cell(value):
    """A value as text: three figures of a measured number."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value).replace("|", "\\|").replace("\n", " ")


def line(cells):
    return "| " + " | ".join(cells) + " |"


def fenced(output):
    """Text as it is. Its own fences would end the block."""
    return "```\n" + output.rstrip().replace("```", "'''") + "\n```"
