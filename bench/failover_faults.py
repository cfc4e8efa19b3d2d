# SPDX-License-Identifier: Apache-2.0
"""The faults of bench/failover: what each needs, does, and by which targets it is judged.

A fault hits the first node, the *focus*. Its actions are a timeline in seconds since its begin; the
length of the fault is given, so that a short try and a whole run have the same shape.
"""

import failover_parts as parts

FLAP_S = 2.0
LATENCY_MS = 200
LOSS_PERCENT = 30


class Fault:
    """`seconds` None: as long as the run says. `outage`: for which share of it the focus is out."""

    def __init__(self, name, words, timeline, **given):
        self.name = name
        self.words = words
        self.timeline = timeline  # (stage, seconds) → [(at, action)]
        self.seconds = given.get("seconds")
        self.outage = given.get("outage", 1.0)
        self.kind = given.get("kind", "other")  # hung, dead, down, slow, other: see failover_report.TARGETS
        self.is_outside = given.get("is_outside", False)
        self.is_relayed = given.get("is_relayed", False)
        self.uses_dns = given.get("uses_dns", False)
        self.has_focus = given.get("has_focus", True)
        self.proxies = given.get("proxies", 1)
        self.has_targets = given.get("has_targets", True)
        self.nodes = given.get("nodes", parts.NODES)

    def lacks(self, options):
        """Why it cannot run here; None: it can."""
        if self.is_outside:
            return parts.lacks_outside()
        return parts.lacks_dns(options.sumcache) if self.uses_dns else None

    def suits(self, peer_name):
        """Discovery and a second proxy are looked at for sumcache only."""
        return peer_name == "sumcache" or (not self.uses_dns and self.proxies == 1)


def stop(stage, seconds):
    return [(0, stage.focus.freeze), (seconds, stage.focus.thaw)]


def kill(stage, seconds):
    return [(0, stage.focus.kill), (seconds * 2 / 3, stage.focus.start)]


def drop(stage, seconds):
    return [(0, lambda: stage.outside.drop(100)), (seconds, stage.outside.heal)]


def loss(stage, seconds):
    return [(0, lambda: stage.outside.drop(LOSS_PERCENT)), (seconds, stage.outside.heal)]


def latency(stage, seconds):
    return [(0, lambda: stage.relay.delay(LATENCY_MS)), (seconds, lambda: stage.relay.delay(0))]


def flap(stage, seconds):
    actions = []
    at = 0.0
    while at < seconds:
        actions += [(at, stage.focus.freeze), (min(at + FLAP_S, seconds), stage.focus.thaw)]
        at += 2 * FLAP_S
    return actions


def kill_all(stage, seconds):
    def each(what):
        for node in stage.nodes.list:
            getattr(node, what)()
    return [(0, lambda: each("kill")), (seconds, lambda: each("start"))]


def scale(stage, seconds):
    """One more node, and half of the time later it is gone from DNS again; the process stays."""
    hosts = [node.host for node in stage.nodes.list]
    return [(0, lambda: stage.dns.answer(hosts)), (seconds / 2, lambda: stage.dns.answer(hosts[:parts.NODES]))]


def dns_down(stage, seconds):
    return [(0, stage.dns.freeze), (seconds, stage.dns.thaw)]


FAULTS = [
    Fault("stop", "one node is stopped (SIGSTOP), then goes on with its memory", stop, kind="hung"),
    Fault("kill", "one node is killed (SIGKILL) and started again, empty, after two thirds of the time", kill,
          kind="dead", outage=2 / 3),
    Fault("drop", "all packets to and from one node are dropped", drop, kind="hung", is_outside=True),
    Fault("loss", f"{LOSS_PERCENT} % of the packets to and from one node are dropped", loss, kind="slow", is_outside=True),
    Fault("latency", f"one node answers {LATENCY_MS} ms later", latency, kind="slow", is_relayed=True),
    Fault("flap", f"one node is stopped for {FLAP_S:g} s, runs for {FLAP_S:g} s, and again", flap, kind="slow"),
    Fault("all", "all nodes are killed, and started again, empty", kill_all, kind="down", seconds=5.0, has_focus=False),
    Fault("scale", "a node is added through DNS, and taken out again", scale, uses_dns=True, has_focus=False,
          nodes=parts.NODES + 1),
    Fault("dns", "the DNS server answers nothing", dns_down, uses_dns=True, has_focus=False),
    Fault("two", "one node is stopped; two proxies, the load split over both; without targets", stop, kind="hung",
          proxies=2, has_targets=False),
]


def faults_wanted(names):
    """The faults of a list of names; all without one."""
    known = {fault.name: fault for fault in FAULTS}
    wanted = names.split(",") if names else list(known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise parts.BenchError(f"no such fault: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in wanted]
