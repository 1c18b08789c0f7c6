"""Guards of next leaves, of unmasking and of worlds of fewer levels, for mutations.py; each row as in results.py."""

CAUSAL, NEXT = "hierlib/_kernels/causal/torch.py", "tests/test_autoregression.py::test_"
FILTERED, WORLDS = "hierlib/filtered.py", "tests/test_filtered.py::test_"
UNMASK, PRICE = "hierlib/unmask.py", "tests/test_unmask.py::test_"
HASTE, COST = "hierlib/networks/haste.py", "tests/test_networks_haste.py::test_"
SPECIATION, TIMES = "hierlib/experiments/speciation.py", "tests/test_speciation.py::test_"
LANGUAGE, ENTROPIES = "hierlib/language.py", "tests/test_language.py::test_"

OVER_GRAMMARS, SAME = "hierlib/experiments/entropies.py", "tests/test_entropies.py::test_"

LANGUAGES = [
    (
        "drops at the same leaves",
        OVER_GRAMMARS,
        "part[:, s - 1 :: s] - block",
        "part.mean() - block",
        f"{SAME}a_drop_is_taken_at_the_same_leaves",
    ),
    (
        "left siblings speak",
        CAUSAL,
        "            weight = weight * siblings[:, i].index_select(1, symbols)",
        "            pass",
        f"{NEXT}every_prefix_against_enumeration",
    ),
    (
        "more left siblings than one",
        "hierlib/_kernels/compiled/causal.py",
        "    for j in range(2, i + 1):",
        "    for j in range(2, i):",
        f"{NEXT}every_prefix_against_enumeration",
    ),
    (
        "a message from a finished subtree",
        "hierlib/autoregression.py",
        "        weight, likely = _normalised(weight * up), likely * up",
        "        weight, likely = _normalised(weight * up), likely",
        f"{NEXT}strings_drawn_leaf_by_leaf_are_data",
    ),
    (
        "nothing before the window",
        "hierlib/autoregression.py",
        "    g, begin, level = blocks.whole, max(0, place - window), 0",
        "    g, begin, level = blocks.whole, max(0, place - window - 1), 0",
        f"{NEXT}a_window_is_all_that_is_seen",
    ),
    (
        "strings that are no data",
        "hierlib/probability.py",
        "        legal &= there.all(1)",
        "        pass",
        "tests/test_probability.py::test_data_are_equally_probable_and_nothing_else_is_possible",
    ),
    (
        "priors of the places of blocks",
        FILTERED,
        "        priors = prior_marginals(g)[levels].repeat(batch, 1)",
        "        priors = None",
        f"{WORLDS}every_number_of_levels_against_enumeration",
    ),
    (
        "a block does not hear itself",
        FILTERED,
        "    others = (before[:, :-1] + after[:, 1:]).softmax(2)",
        "    others = (before[:, :-1] + after[:, :-1]).softmax(2)",
        f"{WORLDS}every_number_of_levels_against_enumeration",
    ),
    (
        "classes that give no such blocks",
        FILTERED,
        '    refuse(torch.isneginf(total), "datum {} is impossible: no class gives its blocks")\n',
        "",
        f"{WORLDS}classes_that_give_no_such_blocks_are_named",
    ),
    (
        "ladders whose steps do not fall",
        FILTERED,
        "    if falling.ndim != 1 or len(falling) < 2 or not (np.diff(falling) < 0).all():",
        "    if False:",
        f"{WORLDS}bad_input_is_refused",
    ),
    (
        "leaves that are seen are paid for once",
        UNMASK,
        "masked_fill(~now, 0)",
        "masked_fill(~now & (said == 0), 0)",
        f"{PRICE}it_is_the_divergence_from_the_samplers_own_law",
    ),
    (
        "leaves that are seen stay",
        UNMASK,
        ".masked_fill(~hidden, torch.inf)",
        "",
        f"{PRICE}it_is_the_divergence_from_the_samplers_own_law",
    ),
    (
        "a floor under contradictions",
        UNMASK,
        "v=v, dtype=dtype, floor=floor):",
        "v=v, dtype=dtype):",
        f"{PRICE}runs_of_the_sampler_follow_its_law",
    ),
    (
        "rounds that do not end with all leaves",
        UNMASK,
        "    if not seen or seen[-1] != d or any(b <= a for a, b in pairwise(seen)):",
        "    if not seen:",
        f"{PRICE}bad_input_is_refused",
    ),
    (
        "beliefs that are not finite",
        UNMASK,
        "    finite(belief.sum(2), ",
        "    (lambda x, *_: x)(belief.sum(2), ",
        f"{PRICE}bad_input_is_refused",
    ),
    (
        "leaves are paid for in their own round",
        HASTE,
        "said.append(each.masked_fill(~now, 0).sum(1))",
        "said.append(each.sum(1))",
        f"{COST}what_is_paid_round_by_round_adds_up",
    ),
    (
        "few runs of a sampler",
        HASTE,
        "- q.log().mean() - bias)",
        "- q.log().mean())",
        f"{COST}a_law_from_runs_is_corrected_for_their_number",
    ),
    (
        "orders by another name",
        HASTE,
        "    if name not in known:",
        "    if False:",
        f"{COST}no_such_order",
    ),
    (
        "symbols that a place never has",
        SPECIATION,
        "    chosen = chosen.masked_fill(prior == 0, -1)",
        "    chosen = chosen",
        f"{TIMES}another_symbol_is_one_that_the_node_can_have",
    ),
    (
        "noise that excludes symbols",
        SPECIATION,
        "    if not lead.isfinite().all():",
        "    if False:",
        f"{TIMES}times_that_do_not_exist_and_noise_that_excludes",
    ),
    (
        "odds before anything is seen",
        SPECIATION,
        "    return odds - (before.gather(2, own)[..., 0].log() - rest_before.log())",
        "    return odds",
        f"{TIMES}the_mean_of_e_to_minus_the_lead_is_one",
    ),
    (
        "entropies of rules inside a block",
        LANGUAGE,
        "        inner = (g.s**level - 1) // (g.s - 1) * math.log(g.m)",
        "        inner = 0.0",
        f"{ENTROPIES}a_random_place_has_the_entropy_of_its_block_over_its_length",
    ),
    (
        "priors of last leaves",
        LANGUAGE,
        "class_prior=prior.repeat(len(x), 1))",
        "class_prior=None)",
        f"{ENTROPIES}last_leaves_are_told_by_the_rest_of_their_block",
    ),
]
