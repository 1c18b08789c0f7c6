"""Guards of numbers, precision, devices and distances in memory, for mutations.py; each row as in results.py."""

PRECISION, CURVES = "hierlib/_kernels/precision.py", "hierlib/experiments/curves.py"
PRECISE, DEVICES = "tests/test_precision.py::test_", "tests/test_devices.py::test_"

NUMBERS = [
    (
        "half precision is computed in single",
        PRECISION,
        "    return torch.promote_types(dtype, torch.float32)",
        "    return dtype",
        f"{PRECISE}posterior_samples_follow_the_exact_marginals",
    ),
    (
        "numbers that come near the end of their range",
        PRECISION,
        "    return torch.finfo(dtype).tiny * 2.0**GUARD",
        "    return 0.0",
        f"{PRECISE}beliefs_are_right_to_the_digits_of_their_type[torch-torch.float32]",
    ),
    (
        "changes that are rare",
        "hierlib/experiments/changes.py",
        "    if not len(rows):",
        "    if True:",
        f"{PRECISE}susceptibility_where_hardly_anything_changes",
    ),
    (
        "messages that were not asked for",
        "hierlib/inference.py",
        "        if self.up is None or self.down is None:",
        "        if False:",
        "tests/test_inference.py::test_exact_against_enumeration",
    ),
    (
        "pools that went up alone",
        "hierlib/experiments/channels.py",
        "    if pools.marginal is None:",
        "    if False:",
        "tests/test_channels.py::test_pools_and_the_mean_field_beside_exact_inference",
    ),
    (
        "a tensor made without a device",
        "hierlib/_kernels/memory.py",
        'return torch.empty(shape, dtype=dtype, device="cpu")',
        "return torch.empty(shape, dtype=dtype)",
        f"{DEVICES}no_tensor_is_made_where_torch_would_put_it",
    ),
    (
        "views that stand for the negative",
        "hierlib/_kernels/memory.py",
        "    if x.is_neg():",
        "    if False:",
        f"{DEVICES}views_that_stand_for_other_numbers_than_their_memory",
    ),
    (
        "rules that were written to",
        "hierlib/_kernels/cpu.py",
        " or found.written != g.written",
        "",
        f"{DEVICES}rules_that_are_written_to_are_read_again",
    ),
    (
        "tables of 32 bits",
        "hierlib/_kernels/cpu.py",
        "        if max(g.s * (g.v + 1), len(rule) + 1) * LANE_BYTES > 2**32:",
        "        if False:",
        "tests/test_offsets.py::test_tables_that_32_bits_cannot_hold_are_refused",
    ),
    (
        "noises that work in place",
        "hierlib/noise.py",
        " if type(noise).__module__ == __name__ else x0.clone()  #",
        "  #",
        "tests/test_own_noise.py::test_a_noise_that_works_in_place_does_not_touch_the_truth",
    ),
    (
        "means that would be broadcast",
        "hierlib/_denoiser.py",
        " or said.shape != evidence.shape:",
        ":",
        "tests/test_diffusion.py::test_a_mean_that_would_be_broadcast_is_refused",
    ),
    (
        "a way of masks that does not end in the datum",
        "hierlib/diffusion.py",
        " or not ((x_t == x0) | (x_t == g.v)).all()",
        "",
        "tests/test_diffusion.py::test_revealing_refuses_what_is_not_the_datum_masked",
    ),
    (
        "numbers that the judge cannot weigh",
        "hierlib/enumeration.py",
        "    refuse_numbers(~((evidence >= 0) & (evidence < torch.inf)).flatten(1).all(1))\n",
        "",
        "tests/test_enumeration.py::test_the_judge_refuses_what_inference_refuses",
    ),
    (
        "one draw",
        CURVES,
        "    if fewest == 1:",
        "    if False:",
        "tests/test_curves.py::test_one_draw_has_no_interval",
    ),
    (
        "curves with gaps",
        CURVES,
        "    if not np.isfinite(y).all():",
        "    if False:",
        "tests/test_curves.py::test_curves_out_of_order_or_with_gaps_are_refused",
    ),
    (
        "classes that are not whole",
        "hierlib/grammar.py",
        "        if not _of_integers(root) or",
        "        if",
        "tests/test_grammar.py::test_numbers_that_are_not_whole_are_refused",
    ),
]
