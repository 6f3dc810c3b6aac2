"""``certificate.html``: the page for people. It claims what was seen, and begins with what went wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from string import Template

from worker.audit.manifest import PROJECT, Manifest
from worker.audit.tally import MAX_EXCEPTIONS, Exceptional, Tally

_FORM = '<meta name="generator" content="tenure certificate 1">'
"""Changes with every change of the page: the verifier makes the page anew where it knows its form."""

_MOST_ANCHORED = 10_000
_COUNTED, _ENTRY = "Threads", "Entry"
_HEAD = ("Grade", "Kind", "Provider's id", "Owner", "Graded at (UTC)", _ENTRY)
_MEANINGS = {
    "confirmed": "read present, DELETE acknowledged, then read absent beside a control that was read present",
    "sustained": "as confirmed or inferred, and read absent again 24 hours later or more beside a control",
    "inferred": "read present and DELETE sent, its answer lost or unclear, then read absent beside a control",
    "absent": "gone before Tenure deleted it, or for another reason; not claimed as deleted by Tenure",
    "acknowledged": "the DELETE was acknowledged, but absence could not be seen; not claimed as deleted",
    "partial": "the container or some of its children could not be confirmed gone; not claimed as deleted",
    "still_present": "still readable after the DELETE; not deleted",
    "unverifiable": "nothing can be claimed: the answers could also come from a retired or wrong endpoint",
}

_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
$form
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Certificate of deletion evidence: $project</title>
<style>
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin-bottom: .25rem; }
h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 1px solid #999; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-bottom: 1px solid #ddd; }
td.w { overflow-wrap: anywhere; min-width: 6em; }
td.t { white-space: nowrap; }
p { text-wrap: pretty; }
th[scope=row] { font-weight: 600; white-space: nowrap; }
th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: #f4f4f4; padding: .8rem; overflow-x: auto; font-size: .85rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.lead { color: #444; margin-top: 0; }
.stop { border-left: .3rem solid #b00020; padding-left: .8rem; }
.good { border-left: .3rem solid #2e7d32; padding-left: .8rem; }
@media screen and (max-width: 46rem) { table { display: block; overflow-x: auto; } }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 10pt; } h2 { break-after: avoid; }
  table { font-size: 8.5pt; } tr, pre, p { break-inside: avoid; } thead { display: table-header-group; }
  .stop, .good { border-color: #1c1c1c; } }
@page { margin: 18mm; font: 8pt system-ui, sans-serif;
  @bottom-left { content: "Certificate of deletion evidence, root $short"; }
  @bottom-right { content: "Page " counter(page) " of " counter(pages); } }
</style>
</head>
<body>
<h1>Certificate of deletion evidence</h1>
<p class="lead">Project <strong>$project</strong>$of, $start to $end (UTC, the end not included)</p>
<h2>Exceptions</h2>
$exceptions
<h2>Threads by grade</h2>
$grades
<h2>Reconciliation</h2>
$reconciliation
<h2>What is claimed</h2>
<p>$scope</p>
$accounts
<p>Only <em>confirmed</em>, <em>sustained</em> and <em>inferred</em> are called deleted. Logical deletion
through the provider's API is claimed; sanitisation of the provider's media is not asserted.</p>
<h2>What the providers say remains</h2>
$semantics
<h2>How it was seen</h2>
<p>Each thread was read, its deletion was recorded as intended before DELETE was sent, and it was read again.
An absent read counts only beside a control: another object of the same kind and project that the same client
read present within five minutes. A 404 alone proves nothing. $controls Grades are a function of the recorded
observations (grader version $grader); the verifier computes them again.</p>
<h2>Checkpoint</h2>
<pre>$note</pre>
<p>$anchored</p>
<p>$entries entries of this project in the period; the log has $size. $range Root (hex): <code>$root</code>.
Check offline with
<code>tenure audit verify FILE.zip --keys keys.txt</code>, with keys that came another way.</p>
<p class="lead">Made by $tool at $made_at. The evidence is the log's entries in this bundle;
this page is a view.</p>
</body>
</html>
""")


def render(manifest: Manifest, tally: Tally, *, note: str, anchored: str) -> str:
    """Return the page; everything from outside is escaped, nothing is loaded or run."""
    plain = {
        "project": manifest.project,
        "start": _shown(manifest.start),
        "end": _shown(manifest.end),
        "grader": str(manifest.grader_version),
        "note": note,
        "anchored": anchored,
        "entries": str(manifest.entries),
        "size": str(manifest.size),
        "root": manifest.root,
        # Hexadecimal: a loose sheet says of which tree it is, and nothing from outside stands in the style.
        "short": manifest.root[:16],
        "tool": manifest.tool,
        "made_at": f"{_shown(manifest.made_at)} UTC",
        "scope": _scope(),
        "controls": _controls(tally),
        "of": _of(manifest),
        "range": _range(manifest),
    }
    return _PAGE.substitute(
        {key: escape(value) for key, value in plain.items()},
        form=_FORM,
        exceptions=_exceptions(tally),
        grades=_grades(tally),
        reconciliation=_reconciliation(tally),
        semantics=_semantics(tally),
        accounts=_accounts(tally),
    )


def is_known(page: str) -> bool:
    """Whether a page is of the form that `render` gives one."""
    return _FORM in page


def is_made_of(page: str, manifest: Manifest, tally: Tally, *, note: str) -> bool:
    """Whether `render` makes this page of these, with any one sentence on anchors.

    What was anchored when it was made stands nowhere else, so that sentence is taken as it is: plain text.
    """
    before, *behind = render(manifest, tally, note=note, anchored="\0").split("\0")
    if len(behind) != 1:
        return False  # a text from outside has one too, and would open a second place for any sentence
    after = behind[0]
    anchored = page[len(before) : len(page) - len(after)]
    return page == before + anchored + after and len(anchored) <= _MOST_ANCHORED and "<" not in anchored


def _scope() -> str:
    return (
        "A thread that is called deleted was not retrievable through API X with credential Y at time T: "
        "X and Y are listed here, T is its absent_at in deletions.csv. "
        "Nothing is claimed of other credentials, of other routes, or of what happened after T."
    )


def _shown(instant: str) -> str:
    """Write an envelope's instant for reading: to the second, in UTC; entries hold it whole."""
    return instant[: len("2026-11-22T08:00:00")].replace("T", " ")


def _of(manifest: Manifest) -> str:
    match manifest.scope:
        case "owner":
            return f", single entries of the threads of owner {manifest.of}"
        case "erasure":
            return f", single entries of the threads that erasure order {manifest.of} covers"
        case _:
            return ""


def _range(manifest: Manifest) -> str:
    told = []
    if manifest.scope != PROJECT:
        told.append("Each entry here has a proof of its own; that there are no others is not shown here.")
    if manifest.first:
        told.append(f"This bundle begins at leaf {manifest.first} of the log.")
    if manifest.gone:
        told.append(f"The bodies of {manifest.gone} entries were shredded or pruned, which the log records.")
    return " ".join(told)


def _exceptions(tally: Tally) -> str:
    if not tally.exceptional:
        return '<p class="good">None: every graded thread of this period may be called deleted.</p>'
    more = tally.exceptional - len(tally.exceptions)
    rest = f"<p>{more} more are in deletions.csv; {MAX_EXCEPTIONS} are shown.</p>" if more else ""
    told = f"{tally.exceptional} of {tally.graded} graded threads may not be called deleted."
    return (
        f'<p class="stop">{told}</p>'
        + _framed(_HEAD, "".join(f"<tr>{_exceptional(one)}</tr>" for one in tally.exceptions.values()))
        + rest
    )


def _exceptional(one: Exceptional) -> str:
    """Write the cells of one exception; a long grade may be broken behind its slash, an instant nowhere."""
    grade, kind = escape(one.grade).replace("/", "/<wbr>", 1), escape(one.kind)
    return (
        f"<td>{grade}</td><td>{kind}</td><td class=w>{escape(one.external_id)}</td>"
        f"<td class=w>{escape(one.owner)}</td><td class=t>{escape(_shown(one.graded_at))}</td>"
        f"<td class=n>{one.entry}</td>"
    )


def _grades(tally: Tally) -> str:
    if not tally.graded:
        return "<p>No thread was graded in this period.</p>"
    rows = (
        f'<tr><th scope="row">{escape(word)}</th><td class="n">{count}</td>'
        f"<td>{escape(_MEANINGS.get(word, ''))}</td></tr>"
        for word, count in tally.grades.items()
    )
    return _framed(("Grade", _COUNTED, "Means"), "".join(rows))


def _reconciliation(tally: Tally) -> str:
    counts = tally.reconciliation
    names = ["opening", "registered", "unregistered", *(["earlier"] if tally.first else [])]
    left = " + ".join(f"{counts[name]} {name}" for name in names)
    closing = {
        key.removeprefix("closing_"): n
        for key, n in counts.items()
        if key.startswith("closing_") and (n or key != "closing_unknown")
    }
    right = " + ".join(f"{count} {state}" for state, count in closing.items())
    total = sum(closing.values())
    return f"<p>{escape(left)} = {escape(right)} (both sides: {total} threads)</p>{_words(tally)}"


def _words(tally: Tally) -> str:
    """Say what the words of the balance mean."""
    told = (
        "Opening: known and not at an end when the period began. Registered: within the period. "
        "Unregistered: with entries in the period and without a registration in the log. "
    )
    if tally.first:
        told += (
            f"Earlier: registered before leaf {tally.first}, where this bundle begins; how they stood at the "
            "period's beginning is not shown here. "
        )
    told += "Right: how they stood at the end."
    return f'<p class="lead">{escape(told)}</p>'


def _semantics(tally: Tally) -> str:
    rows = sorted(tally.semantics.items())
    return _table(("Kind", "Documented by the provider"), rows) if rows else "<p>No thread was graded.</p>"


def _accounts(tally: Tally) -> str:
    rows = sorted(tally.accounts)
    return _table(("API (X)", "Credential (Y), by name"), rows, wide=(0, 1)) if rows else ""


def _controls(tally: Tally) -> str:
    told = ", ".join(f"{count} {word}" for word, count in sorted(tally.controls.items()))
    return f"Controls recorded on their own in the period: {told}." if told else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, wide: Sequence[int] = ()) -> str:
    """Write a table; cells of the ``wide`` columns may hold long words, which are broken anywhere."""
    return _framed(head, "".join(f"<tr>{''.join(_cells(row, wide))}</tr>" for row in rows))


def _cells(row: Sequence[str], wide: Sequence[int]) -> Iterator[str]:
    for number, cell in enumerate(row):
        yield f"<td{' class=w' if number in wide else ''}>{escape(cell)}</td>"


def _framed(head: Sequence[str], lines: str) -> str:
    columns = "".join(
        f'<th scope="col"{" class=n" if one in {_COUNTED, _ENTRY} else ""}>{escape(one)}</th>' for one in head
    )
    return f"<table><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table>"
