"""Schedules of faults: the rows, longer ones that are written out, and random ones.

The registry has the last word where it says something that cannot be mended by asking again: 401, 403 and 404, a page,
too many or too few bytes, and wrong bytes of a blob that came in one piece. Wrong bytes of one that came in pieces
may be of two minds, and are fetched once more, in one piece. All else passes, or is asked again, five times as long as
nothing comes.
"""

from __future__ import annotations

import random

from tests.cases.fault_cases import (
    ASKED,
    BLOBS,
    BODIES,
    DOCUMENTS,
    LASTING,
    LAYERS,
    OTHER_DIGEST,
    STALLS,
    TARGETS,
    TRIES,
    Row,
    Schedule,
)

ROWS = (
    # what passes, and what is given up after five more tries
    Row("429 429-now 429-past 429-odd", TARGETS, "", "limited"),
    Row("408 500 504", TARGETS, "", "unavailable", r"it answered (408|50\d) \("),
    Row("502-page", TARGETS, "", "unavailable", r"it answered 502 \(Bad Gateway\)"),
    Row("503-negative", TARGETS, "", "unavailable", r"it answered 503 \("),
    Row("hung-up hung-up-reset", TARGETS, "", "unavailable", "the connection was cut"),
    Row("silent", ("token", "name", "manifest", "big"), "", "unavailable", "it stopped answering"),
    Row("no-body no-body-reset", ("token", *BODIES), "", "unavailable", "the connection was cut"),
    Row("no-body-stall", ("token", "config", "small"), "", "unavailable", "it stopped answering"),
    Row(
        "encoded-part",
        ("token", *DOCUMENTS),
        "",
        "unavailable",
        "the encoding of what it sent is damaged: it ends early",
    ),
    Row("encoded-part", LAYERS, "", "gzip"),  # the label of a range is taken for wrong
    Row("504", BLOBS, "", "unavailable", r"sends us\) failed: it answered 504", elsewhere=True),
    Row("hung-up", LAYERS, "", "unavailable", r"sends us\) failed: the connection was cut", elsewhere=True),
    Row("429-now", LAYERS, "", "limited", r"^127\.0\.0\.1:\d+ \(where", elsewhere=True),
    Row("504 429", ("address",), "", None, elsewhere=True),
    # what ends early
    Row("part part-reset part-of-chunks", DOCUMENTS, "", "unavailable", "the connection was cut"),
    Row("part-stall", ("manifest",), "", "unavailable", "it stopped answering"),
    Row("part-unsaid part-to-the-end", ("manifest",), "size", None, r"expected \d+ bytes, got 300;"),
    Row("part-unsaid part-to-the-end", ("config",), "", "unavailable", r"ended \d+ bytes early"),
    Row(
        "part part-reset part-of-chunks part-unsaid part-to-the-end half",
        LAYERS,
        "",
        None,
        elsewhere=None,
        streams=(1, 3),
    ),
    Row("part-stall", LAYERS, "", None, elsewhere=None),
    # what is odd, and does no harm
    Row("late other-type other-digest chunks until-closed encoded", DOCUMENTS, "", ""),
    Row("late other-type chunks until-closed encoded", LAYERS, "", "", elsewhere=None),
    Row("late no-digest encoded chunks", ("name",), "", "", first="honest"),
    Row("late other-type chunks until-closed encoded", ("token",), "", ""),
    Row("redirect", ASKED, "", "misbehaved", "it redirects more than 10 times"),
    Row("slow", ("small",), "", "", first="most"),
    Row("slow", ("token",), "", ""),
    Row("stale", BODIES, "", "denied", passes=1),
    # ranges
    Row("unranged", LAYERS, "", "", first="part", elsewhere=None),
    Row("unranged", ("big",), "", "", streams=(3,)),
    Row("unranged-half", LAYERS, "", "unavailable", "the connection was cut", first="half", passes=TRIES - 1),
    Row("416", LAYERS, "", "misbehaved", "it answered 416", first="part", passes=1),
    Row(
        "wrong-start wrong-end wrong-total no-range-said multipart",
        LAYERS,
        "",
        "",  # the second time in a row it is read from the start
        first="part",
    ),
    Row("wrong-start wrong-end wrong-total no-range-said", ("big",), "", None, first="honest", streams=(3,)),
    Row("longer", LAYERS, "", "size", first="part", passes=1),
    Row("shorter", LAYERS, "", None, first="part"),
    # the registry's last word
    Row("401", ASKED, "denied", "denied"),
    Row("403", BODIES, "denied", "denied"),
    Row("403", ("name",), "", ""),  # then it is read
    Row("401 403", ("token",), "denied", None),
    Row("404", ("name", "manifest"), "no image", None),
    Row("404", BLOBS, "no blob", "no blob"),
    Row("418", TARGETS, "misbehaved", None, r"it answered 418"),
    Row("400", ("token", *BODIES), "misbehaved", None, r"it answered 400"),
    Row("403 404 401", BLOBS, "", "unreachable", r": it answered 40\d$", elsewhere=True),
    Row("redirect-to-file", ASKED, "misbehaved", None, "it redirects to a 'file:' address"),
    Row("redirect-nowhere", ASKED, "misbehaved", None, "it answered 307"),
    Row("redirect-to-nobody", ASKED, "unreachable", None, "connection refused"),
    Row("challenge-unknown challenge-without-realm challenge-basic", ASKED, "denied", None),
    Row(
        "challenge-to-file", ("manifest", "big"), "misbehaved", None, "its token server has a 'file:' address"
    ),
    Row("page", ("token",), "misbehaved", None, "it gives 'text/html' instead of a token"),
    Row("no-json", ("token",), "misbehaved", None, "it gives 'application/json' instead of a token"),
    Row("no-token", ("token",), "misbehaved", None, "its answer has no token"),
    Row("endless", ("token",), "misbehaved", None, "its token is larger than 65536 bytes"),
    Row("page", ("name", "manifest"), "misbehaved", None, "it sent 'text/html' instead of a manifest"),
    Row("page", BLOBS, "misbehaved", "misbehaved", "it sent 'text/html' instead of a blob"),
    Row("page", LAYERS, "misbehaved", None, "it sent 'text/html' instead of a blob", elsewhere=True),
    Row("other-digest", ("name",), "no image", None, OTHER_DIGEST, first="honest"),
    Row("long-length", ("name",), "too large", None, "the size of the manifest for", first="honest"),
    Row("two-lengths", BODIES, "misbehaved", None, "what it sends is not HTTP"),
    Row("error-200 longer shorter short-length", BODIES, "size", None),
    Row("damaged damaged-name", DOCUMENTS, "content", "content"),
    Row("damaged-name", LAYERS, "content", "content", elsewhere=None),
    Row("damaged", LAYERS, "gzip", "gzip"),
    Row("damaged damaged-name", LAYERS, "", None, first="part"),
    Row("damaged", ("big",), "", "gzip", streams=(3,)),
    Row("huge endless", ("manifest",), "too large", None, "4194304"),
    Row("huge endless", BLOBS, "size", None),
)

_NIGHT = (
    ("token", "429"), ("name", "hung-up"), ("manifest", "part"), ("config", "502-page"), ("big", "half"),
    ("small", "part-reset"), ("big", "no-body"), ("small", "504"), ("big", "part-stall"), ("small", "part"),
)  # fmt: skip
WRITTEN = (
    Schedule("a bad night", _NIGHT),
    Schedule("a bad night, 3 streams", _NIGHT, streams=3),
    Schedule("a bad night, elsewhere", _NIGHT, elsewhere=True),
    Schedule("a bad night that does not end", (*_NIGHT, *(("big", "504"),) * LASTING), "unavailable"),
    Schedule("tokens and names count together", (("token", "504"),) * 3 + (("name", "504"),) * 2),
    Schedule(
        "tokens and names count together, and are too many",
        (("token", "504"),) * 3 + (("name", "504"),) * 3,
        "unavailable",
    ),
    Schedule("progress counts from the start", (*(("big", "504"),) * 4, ("big", "part")) * 4),
    Schedule("a link that is cut every 300 bytes", (("small", "part"),) * 60),
    Schedule("a link that is cut every 300 bytes, small batches", (("small", "part"),) * 60, batch=1000),
    Schedule("a link that is cut every 10000 bytes, 3 streams", (("big", "half"),) * 40, streams=3),
    Schedule(
        "mended once, and wrong again",
        (("small", "part"), ("small", "damaged"), ("small", "damaged")),
        "gzip",
    ),
    Schedule("wrong in pieces, and then cut", (("small", "part"), ("small", "damaged"), ("small", "half"))),
    Schedule("an address that expires in the middle, and its heir too", (("small", "half"), ("small", "403"), ("small", "half"), ("small", "403")), elsewhere=True),
    Schedule("tokens that end in the middle of layers", (("big", "half"), ("big", "stale"), ("big", "half"), ("big", "stale"))),
    Schedule("tokens that end in the middle of layers, 3 streams", (("big", "honest"), ("big", "stale"), ("big", "half"), ("big", "stale")), streams=3),
    Schedule("ranges now and then", (("big", "honest"), ("big", "unranged")) * 3, streams=3),
    Schedule("only one at once", (("big", "honest"), *(("big", "429"),) * 4), streams=3),
    Schedule("416 for whoever helps", (("big", "honest"), *(("big", "416"),) * 2), streams=3),
    Schedule("one layer is gone while the other comes", (("big", "part-stall"), ("small", "404")), "no blob"),
    Schedule("both layers are cut and gone", (("big", "half"), ("small", "half"), *(("big", "404"),) * 2, ("small", "404")), "no blob"),
    *(Schedule(f"cancelled at the {target}", ((target, "cancel"),)) for target in TARGETS),
    *(Schedule(f"cancelled at the {target}, elsewhere", ((target, "cancel"),), elsewhere=True) for target in ("address", *BLOBS)),
    *(Schedule(f"cancelled in the middle of {layer}, {n} streams", ((layer, "half"), (layer, "cancel")), streams=n) for layer in LAYERS for n in (1, 3)),
    *(Schedule(f"cancelled while {layer} stalls", ((layer, "part-stall"), ("small" if layer == "big" else "big", "cancel"))) for layer in LAYERS),
    Schedule("cancelled with small batches", (("big", "half"), ("small", "half"), ("big", "cancel")), batch=1000),
    Schedule("cancelled three times", (("big", "half"), ("big", "cancel")) * 3, streams=3),
    Schedule("cancelled, and then gone", (("big", "half"), ("big", "cancel"), ("big", "404")), "no blob"),
    Schedule("cancelled after wrong bytes", (("small", "part"), ("small", "damaged"), ("big", "cancel"))),
)  # fmt: skip


def scripted() -> list[Schedule]:
    """All that are written down."""
    return [*(schedule for row in ROWS for schedule in row.schedules()), *WRITTEN]


_PASSING = {
    target: [
        fault
        for row in ROWS
        if target in row.targets and not (row.once or row.elsewhere or row.first)
        for fault in row.faults.split()
        if fault not in ("damaged", "slow", "stale")
        and not (target in LAYERS and fault.startswith("encoded"))  # in a range it is wrong bytes
    ]
    for target in TARGETS
}
"""What may come at any time, by target."""
_FAILING = {
    fault
    for row in ROWS
    if row.lasting == "unavailable" or row.lasting == "limited"
    for fault in row.faults.split()
}
"""What brings nothing, or not much."""
_FOR_EVER = 10 * LASTING
"""For what brings a little each time, and with small batches is not looked at before much of it has come."""
_FINAL = [row for row in ROWS if row.lasting and not row.elsewhere and row.streams == (1,)]


def random_one(seed: int) -> Schedule:
    """Faults that pass at several requests, in any order; perhaps cancellations, and one that does not pass."""
    chance = random.Random(seed)
    streams, elsewhere = chance.choice((1, 1, 3)), chance.random() < 0.3
    faults: list[tuple[str, str]] = []
    stalls = 0
    for target in chance.sample(TARGETS, chance.randint(1, 5)):
        # A token is asked for while the name is resolved: their failures count together. A request that was
        # cut is one that failed.
        most = 2 if target in ("token", "name") else TRIES - 1
        for _ in range(chance.randint(1, most)):
            fault = chance.choice(_PASSING[target])
            stalls += fault in STALLS
            if stalls > 2 and fault in STALLS:
                continue
            faults.append((target, fault))
            if target in LAYERS and chance.random() < 0.2:
                faults.append((target, "half"))
    layer = chance.choice(LAYERS)
    if elsewhere:
        faults += [(layer, chance.choice(("403", "404")))] * chance.randint(0, 1)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        faults.insert(chance.randint(0, len(faults)), (chance.choice(ASKED), "cancel"))
    ending = words = ""
    if chance.random() < 0.3:
        row = chance.choice(_FINAL)
        target = chance.choice(row.targets)
        if not ((elsewhere and target in BLOBS) or (streams > 1 and (row.first or row.lasting == "gzip"))):
            ending, words = row.lasting or "", row.words
            # It comes too late for what is here already.
            before = {"cancel"} if row.first else {"cancel", "part"} | _FAILING
            faults = [(where, fault) for where, fault in faults if where != target or fault in before]
            first = [(target, row.first)] if row.first else []
            faults += [*first, *[(target, chance.choice(row.faults.split()))] * _FOR_EVER]
    batch = chance.choice((1000, 1 << 20))
    return Schedule(f"random {seed}", tuple(faults), ending, words, streams, elsewhere, batch)
