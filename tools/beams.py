"""Beam search and diverse group beam search by full recomputation: the slow, obvious versions.

`log_probs(ids)` maps a list of token ids to the log-probabilities [V] of the next token. There is no end token:
every hypothesis gets exactly `steps` new tokens.
"""


class Unsuitable(Exception):
    """These random weights make a poor fixture, such as a near tie that rounding could turn: take the next seed."""


def beam_search(log_probs, prompt, beams, steps, length_penalty):
    """All final hypotheses, best first, as (new ids, sum of log-probabilities, score).

    Each step extends every hypothesis by every token and keeps the `beams` largest sums of log-probabilities.
    score = sum / (new tokens) ** length_penalty. The returned sequence is the first.
    """
    live = [([], 0.0)]
    for _ in range(steps):
        candidates = []
        for ids, total in live:
            for token, value in enumerate(log_probs(prompt + ids)):
                candidates.append((ids + [token], total + value))
        live, margin = best(candidates, beams)
        require(margin > 1e-4, "a near tie")
    return [(ids, total, total / steps**length_penalty) for ids, total in live]


def group_beam_search(log_probs, prompt, beams, groups, steps, diversity_penalty):
    """Diverse beam search (https://arxiv.org/abs/1610.02424) with Hamming diversity, groups in order.

    Every group starts from the prompt alone and keeps beams / groups hypotheses. At each step the groups choose one
    after another; for group g, before choosing, diversity_penalty * n(token) is subtracted from each token's
    log-probability, where n(token) counts the hypotheses of groups 0 .. g-1 that ended in this token at this same
    step. The subtracted amounts stay in the hypothesis's score. Result: (new ids, sum of log-probabilities without
    penalties, score with penalties), group by group, best score first within each. The best sequence of all is the
    one with the largest score.
    """
    size = beams // groups
    live = [[([], 0.0, 0.0)] for _ in range(groups)]
    for _ in range(steps):
        chosen = []
        for group in range(groups):
            candidates = []
            for ids, total, score in live[group]:
                for token, value in enumerate(log_probs(prompt + ids)):
                    penalised = value - diversity_penalty * chosen.count(token)
                    candidates.append((ids + [token], total + value, score + penalised))
            live[group], margin = best(candidates, size)
            require(margin > 1e-4, "a near tie")
            chosen += [hypothesis[0][-1] for hypothesis in live[group]]
    return [hypothesis for group in live for hypothesis in group]


def require(condition, reason):
    if not condition:
        raise Unsuitable(reason)


def best(candidates, count):
    """The `count` candidates with the largest last element, in order, and the smallest gap between neighbours."""
    ranked = sorted(candidates, key=lambda candidate: -candidate[-1])[: count + 1]
    return ranked[:count], min(a[-1] - b[-1] for a, b in zip(ranked, ranked[1:]))
