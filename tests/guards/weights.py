"""Guards of rules and classes that are not equally probable, for mutations.py; each row as in results.py."""

WEIGHTS, ALL = "hierlib/_weights.py", "tests/test_weights.py::test_"
EVERYWHERE = "tests/test_weights_everywhere.py::test_"
THEORY = "tests/test_weights_theory.py::test_"
TORCH = "hierlib/_kernels/torch.py"
GPU, GPU_LOOPS, GPU_CAUSAL = (f"hierlib/_kernels/{name}.py" for name in ("gpu", "gpu_loops", "causal/gpu"))
ON_GPU = f"{ALL}compiled_kernels_agree_with_the_reference[gpu-kind0-size1]"  # in Triton's interpreter

UNEVEN = [
    (
        "weights that are all 1/m are none",
        WEIGHTS,
        "    if all(bool((weight == 1 / m).all()) for weight, (_, m) in zip(given, shapes, strict=True)):",
        "    if False:",
        f"{ALL}weights_that_say_nothing_are_none",
    ),
    (
        "weights that do not sum to one",
        WEIGHTS,
        "    bad = (sums - 1).abs() > SUM",
        "    bad = sums > 2",
        f"{ALL}weights_that_are_none_are_refused",
    ),
    (
        "weights that are no probabilities",
        WEIGHTS,
        "    bad = ~((given >= 0) & (given <= 1 + SUM))",
        "    bad = given > 2",
        f"{ALL}weights_that_are_none_are_refused",
    ),
    (
        "no draw of weight zero",
        WEIGHTS,
        "        found += at >= below[:, k][rows]",
        "        found += at > below[:, k][rows] - 1e-2",
        f"{ALL}data_are_drawn_by_their_weights",
    ),
    (
        "weights on the way up",
        TORCH,
        "        weight = weight * shares",
        "        pass",
        f"{ALL}leaf_marginals_are_the_gradient_of_log_evidence",
    ),
    (
        "weights on the way down",
        TORCH,
        "        above = above * shares",
        "        pass",
        f"{ALL}compiled_kernels_agree_with_the_reference",
    ),
    (
        "weights of leaves drawn from left to right",
        "hierlib/autoregression.py",
        "        weight = weight * likely",
        "        pass",
        f"{ALL}data_are_drawn_by_their_weights",
    ),
    (
        "no 1/m beside weights",
        "hierlib/_kernels/cpu.py",
        " if g.weights is None else 0.0,",
        ",",
        f"{ALL}compiled_kernels_agree_with_the_reference",
    ),
    (
        "weights in the order of the lists",
        "hierlib/_kernels/cpu.py",
        "weight[order].ravel()",
        "weight.ravel()",
        f"{ALL}compiled_kernels_agree_with_the_reference",
    ),
    (
        "weights on a GPU's way up",
        GPU_LOOPS,
        "                product *= tl.load(weights + _wide(y) * m + r)",
        "                pass",
        ON_GPU,
    ),
    (
        "weights on a GPU's way down",
        GPU_LOOPS,
        "                product *= tl.load(weights + _wide(i) * parents * m + q)",
        "                pass",
        ON_GPU,
    ),
    (
        "weights in what a GPU draws",
        GPU_LOOPS,
        "        weight *= tl.load(weights + r, mask=exists, other=0)",
        "        pass",
        f"{ALL}trees_are_drawn_by_their_weights[gpu-size4]",
    ),
    (
        "weights of the symbol from which a GPU draws",
        GPU_LOOPS,
        "        weights += first",
        "        pass",
        f"{ALL}trees_are_drawn_by_their_weights[gpu-size4]",
    ),
    (
        "weights of the next leaf on a GPU",
        GPU_CAUSAL,
        "                product *= tl.load(weights + _wide(i) * parents * m + q)",
        "                pass",
        ON_GPU,
    ),
    (
        "no 1/m beside weights on a GPU",
        GPU,
        " if g.weights is None else 0.0",
        "",
        ON_GPU,
    ),
    (
        "weights in the order of a GPU's lists",
        GPU,
        "weight.flatten()[torch.stack(orders)]",
        "weight.flatten().expand(g.s, -1)",
        ON_GPU,
    ),
    (
        "weights that were written to",
        "hierlib/grammar.py",
        "(*self.rules, *(self.weights or ()))",
        "self.rules",
        f"{ALL}weights_that_are_written_to_are_read_again",
    ),
    (
        "a prior in the call before the grammar's",
        "hierlib/inference.py",
        "    prior = g.class_prior if prior is None else prior",
        "    prior = prior if g.class_prior is None else g.class_prior",
        f"{ALL}a_prior_in_the_call_wins_over_that_of_the_grammar",
    ),
    (
        "weights in a classifier's file",
        "hierlib/networks/classifier.py",
        'rules, uneven or None, tensors.get("class_prior"))',
        "rules)",
        f"{ALL}kept_in_a_file",
    ),
    (
        "uneven classes in the variance of changes",
        "hierlib/experiments/changes.py",
        "        if level == g.L and g.class_prior is not None:",
        "        if False:",
        f"{EVERYWHERE}shown_against_the_list",
    ),
    (
        "uneven classes that tie blocks",
        "hierlib/filtered.py",
        "        before = before + g.class_prior.log()",
        "        before = before + 0 * g.class_prior.log()",
        f"{EVERYWHERE}shown_against_the_list",
    ),
    (
        "a matrix of transitions of strings that are not equally probable",
        "hierlib/experiments/transitions.py",
        '    refuse_uneven(g, "a matrix of transitions", "walk with hierlib.experiments.chains")',
        "    pass",
        f"{EVERYWHERE}refused",
    ),
    (
        "the true rule is met as often as its weight",
        "hierlib/theory/population.py",
        "    table[0] = law[used]",
        "    table[0] = law[0]",
        f"{THEORY}the_true_rule_is_used_as_often_as_its_weight",
    ),
]
