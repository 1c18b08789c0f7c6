"""Guards of leaves that are points and of pictures made of them, for mutations.py; each row as in results.py."""

EMBEDDING, DRAWN = "hierlib/embedding.py", "hierlib/images/pictures.py"
CLASSIFIER, LOOKED = "hierlib/images/picture_classifier.py", "hierlib/images/picture_layers.py"
TRAINED, LAYERS = "tests/test_images_picture_classifier.py::test_", "tests/test_images_picture_layers.py::test_"
POINTS, PICTURE = "tests/test_embedding.py::test_", "tests/test_images_pictures.py::test_"

PICTURES = [
    (
        "points of different lengths",
        EMBEDDING,
        " - (points.square().sum(1)[:, None] / 2 * signal)",
        "",
        f"{POINTS}evidence_is_bayes_rule",
    ),
    (
        "points far from zero",
        EMBEDDING,
        "    points, x = points - centre, x - signal[:, None, None] * centre",
        "",
        f"{POINTS}a_shift_tells_nothing_and_a_turn_changes_nothing",
    ),
    (
        "a table for another alphabet",
        EMBEDDING,
        "given.ndim != 2 or len(given) != v or",
        "given.ndim != 2 or",
        f"{POINTS}what_is_no_table_is_refused",
    ),
    (
        "points that are not finite",
        EMBEDDING,
        "    if not found.isfinite().all():",
        "    if False:",
        f"{POINTS}what_is_no_table_is_refused",
    ),
    (
        "a table that is changed later",
        EMBEDDING,
        "given.detach().to(torch.float64, copy=True)",
        "given.detach().to(torch.float64)",
        f"{POINTS}two_noises_are_the_same_if_their_points_are",
    ),
    (
        "points at different distances",
        "hierlib/noise.py",
        "        return self.embedding is None or equidistant(self.embedding)",
        "        return True",
        f"{POINTS}population_dynamics_draws_each_symbol",
    ),
    (
        "noises with different points",
        "hierlib/noise.py",
        "alike and same(self.embedding, other.embedding)",
        "alike",
        f"{POINTS}two_noises_are_the_same_if_their_points_are",
    ),
    (
        "points without one Z",
        "hierlib/experiments/leaf_noise.py",
        "        _check_alike(noise)  # or each",
        "        # or each",
        f"{POINTS}who_asks_whether_symbols_are_treated_alike",
    ),
    (
        "rows and columns of a picture",
        DRAWN,
        "    order = [0, 2 * levels + 1, *_rows(levels), 2 * levels + 2, *_columns(levels), 2 * levels + 3]",
        "    order = [0, 2 * levels + 1, *_columns(levels), 2 * levels + 2, *_rows(levels), 2 * levels + 3]",
        f"{PICTURE}each_leaf_stands_where_its_ancestors_say",
    ),
    (
        "rows and columns of a picture that is read",
        DRAWN,
        "for pair in zip(rows, columns)",
        "for pair in zip(columns, rows)",
        f"{PICTURE}each_leaf_stands_where_its_ancestors_say",
    ),
    (
        "tiles in the order of symbols",
        DRAWN,
        "alphabet.tiles.to(leaves.device)[leaves]",
        "alphabet.tiles.flip(0).to(leaves.device)[leaves]",
        f"{PICTURE}a_turn_is_a_draw_from_the_posterior_given_the_pixels",
    ),
    (
        "noise of the size that evidence is told",
        DRAWN,
        "(1 - alpha_bar) ** 0.5 * eta",
        "(1 - alpha_bar) * eta",
        f"{PICTURE}a_turn_is_a_draw_from_the_posterior_given_the_pixels",
    ),
    (
        "blocks that are not equally frequent",
        "hierlib/filtered.py",
        "blocks, class_prior=priors, generator=generator)",
        "blocks, generator=generator)",
        f"{PICTURE}who_knows_some_levels_draws_by_them_alone",
    ),
    (
        "the mean in pixels, step by step",
        "hierlib/diffusion.py",
        "return x.argmax(-1) if points is None else nearest(points, x)",
        "return x.argmax(-1)",
        f"{PICTURE}pixel_by_pixel_step_by_step_it_is_the_same_draw",
    ),
    (
        "a classifier of other rules",
        CLASSIFIER,
        '        if data.digest() != about["inputs"]["data"]:',
        "        if False:",
        f"{TRAINED}weights_of_other_rules_are_refused",
    ),
    (
        "pictures that do not fall to one place",
        CLASSIFIER,
        "        if side < 4 or side & (side - 1):",
        "        if False:",
        f"{TRAINED}other_sides_are_refused",
    ),
    (
        "signals that do not fall",
        LOOKED,
        "    if len(r) < 1 or any(b >= a for a, b in pairwise(r)):",
        "    if False:",
        f"{LAYERS}refusals",
    ),
    (
        "a network of larger pictures",
        LOOKED,
        'or probe.network.config["side"] != data.side',
        "",
        f"{LAYERS}refusals",
    ),
    (
        "a signal that is none",
        LOOKED,
        "    if not 0 < r < math.inf:",
        "    if False:",
        f"{LAYERS}refusals",
    ),
    (
        "untrained logits that are biases",
        LOOKED,
        "            module.momentum = None",
        "            module.momentum = 0.0",
        f"{LAYERS}an_untrained_network_has_seen_pictures",
    ),
]
