"""Guards of chains of U-turns, drawn and exact, for tests/mutations.py; each row as in results.py."""

CHAINS, DRAWN = "hierlib/experiments/chains.py", "tests/test_chains.py::test_"
TRANSITIONS, EXACT = "hierlib/experiments/transitions.py", "tests/test_transitions.py::test_"
FRAGMENTS, PIECES = "hierlib/experiments/fragments.py", "tests/test_fragments.py::test_"
REACH, THEORY = "hierlib/theory/reach.py", "tests/test_reach.py::test_"

RELAXED, LONG = "hierlib/experiments/relaxation.py", "tests/test_relaxation.py::test_"
LEARNT, WALKED = "hierlib/networks/learnt_walk.py", "tests/test_networks_learnt_walk.py::test_"

OF_CHAINS = [
    (
        "times longer than what was walked",
        RELAXED,
        "    return np.minimum(found, correlations.shape[1] - 1)",
        "    return found",
        f"{LONG}times_are_cut_at_the_longest_lag",
    ),
    (
        "steps through strings that are not legal",
        LEARNT,
        "    there = (start >= 0) & (end >= 0)",
        "    start, end = start.clamp_min(0), end.clamp_min(0)\n    there = end >= 0",
        f"{WALKED}a_cycle_has_a_current_and_steps_through_nothing_do_not_count",
    ),
    (
        "each turn starts from the end of the one before",
        CHAINS,
        "generator=generator, backend=backend))\n        yield state",
        "generator=generator, backend=backend))\n        yield state\n        state = parse(g, state[0].roll(1, 0))",
        f"{DRAWN}a_chain_is_u_turns_in_a_row_and_each_may_have_its_own_noise_level",
    ),
    (
        "pairs of a chain at their distance",
        CHAINS,
        "(small[k:] == small[: steps + 1 - k])",
        "(small[k:] == small[:1])",
        f"{DRAWN}autocorrelations_are_over_all_pairs_of_a_chain",
    ),
    (
        "levels with one symbol",
        CHAINS,
        "if chance < 1 - 1e-12 else torch.ones_like(kept)",
        "",
        f"{DRAWN}a_level_with_one_symbol_is_never_lost",
    ),
    (
        "where an autocorrelation first falls",
        CHAINS,
        "    k = low.long().argmax(0)[None]  # the first",
        "    k = len(low) - 1 - low.long().flip(0).argmax(0)[None]",
        f"{DRAWN}relaxation_times_are_where_it_first_falls",
    ),
    (
        "more times than chains",
        CHAINS,
        "    if levels.ndim > 1 or (levels.ndim == 1 and len(levels) != len(state[0])):",
        "    if False:",
        f"{DRAWN}bad_input_is_refused",
    ),
    (
        "autocorrelations that do not begin with one",
        CHAINS,
        " or not torch.allclose(c[0], torch.ones_like(c[0])):",
        ":",
        f"{DRAWN}bad_input_is_refused",
    ),
    (
        "bounds of what is no autocorrelation",
        CHAINS,
        "    if not (first <= 1).all():",
        "    if False:",
        f"{DRAWN}bad_input_is_refused",
    ),
    (
        "how many strings share what is seen",
        TRANSITIONS,
        "        joint += (seen[:, None] == seen) / size[:, None]",
        "        joint += (seen[:, None] == seen) / size.mean()",
        f"{EXACT}it_is_the_sum_over_all_that_can_be_seen",
    ),
    (
        "evidence of what is seen is normalised",
        TRANSITIONS,
        "        scaled = weight / torch.where(total > 0, total, torch.inf).sqrt()",
        "        scaled = weight",
        f"{EXACT}it_is_the_sum_over_all_that_can_be_seen",
    ),
    (
        "the law of the ε-process is not that of the data",
        TRANSITIONS,
        "    return Transitions(x, joint / law[:, None], law / law.sum())",
        "    return Transitions(x, joint / law[:, None], torch.full_like(law, 1 / len(law)))",
        f"{EXACT}it_is_a_reversible_and_positive_chain",
    ),
    (
        "modes are orthonormal under the law",
        TRANSITIONS,
        "    return Spectrum(values.flip(0), vectors.flip(1) / root[:, None])",
        "    return Spectrum(values.flip(0), vectors.flip(1))",
        f"{EXACT}it_is_a_reversible_and_positive_chain",
    ),
    (
        "chains with a current",
        TRANSITIONS,
        "    if not (flow - flow.T).abs().max() * n < 1e-9:",
        "    if False:",
        f"{EXACT}what_is_no_reversible_chain_has_no_spectrum",
    ),
    (
        "rows that do not sum to one",
        TRANSITIONS,
        "    if not (matrix.sum(1) - 1).abs().max() < 1e-9:",
        "    if False:",
        f"{EXACT}what_is_no_reversible_chain_has_no_spectrum",
    ),
    (
        "noise that excludes the truth",
        TRANSITIONS,
        "        if not ((own > 0) & likely.isfinite()).all():",
        "        if False:",
        f"{EXACT}bad_input_is_refused",
    ),
    (
        "the ε-process is no channel to draw from",
        TRANSITIONS,
        "    if isinstance(noise, EpsilonNoise):",
        "    if False:",
        f"{EXACT}bad_input_is_refused",
    ),
    (
        "steps as short as beliefs are steep",
        TRANSITIONS,
        "smooth = min(math.pi * variance / (2 * alpha) ** 0.5, ",
        "smooth = min(1e9, ",
        f"{EXACT}gaussian_noise_is_integrated",
    ),
    (
        "nodes that are too many",
        TRANSITIONS,
        "    if dimension * math.log(nodes) + math.log(n * max(n, 16)) > math.log(WORK):",
        "    if dimension * math.log(nodes) + math.log(n * max(n, 16)) > 90:",
        f"{EXACT}bad_input_is_refused",
    ),
    (
        "pieces until nothing changes",
        FRAGMENTS,
        "        if (piece == before).all():",
        "        if True:",
        f"{PIECES}pieces_are_those_of_the_graph_of_strings",
    ),
    (
        "walks that stay in their class",
        FRAGMENTS,
        "        inside, new = near[classes == own], []",
        "        inside, new = near, []",
        f"{PIECES}reach_is_what_the_piece_of_the_class_touches",
    ),
    (
        "walks that were cut short",
        FRAGMENTS,
        "not waiting or len(touched) == g.num_classes\n",
        "True\n",
        f"{PIECES}what_was_not_seen_to_the_end_says_so",
    ),
    (
        "symbols beyond a byte",
        FRAGMENTS,
        "torch.uint8 if g.v <= 256 else torch.int64",
        "torch.uint8",
        f"{PIECES}symbols_beyond_a_byte_are_told_apart",
    ),
    (
        "clusters that have ended",
        REACH,
        "        unseen[m - explored] = 0.0\n",
        "",
        f"{THEORY}clusters_are_those_of_all_graphs",
    ),
    (
        "clusters of rules",
        REACH,
        " * mean_cluster(m, few * r[-1])",
        "",
        f"{THEORY}it_has_clusters_of_rules",
    ),
]
