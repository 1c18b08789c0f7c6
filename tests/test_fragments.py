"""Pieces of strings and what is within reach of single changes, against distances between all strings."""

import pytest
import torch

import hierlib as hl
from hierlib.enumeration import all_data
from hierlib.experiments.fragments import fragments, reach
from hierlib.experiments.transitions import erasure_kernel, spectrum

SIZES = [(4, 2, 2, 3, 4), (3, 2, 2, 2, 2), (5, 1, 2, 2, 5), (3, 3, 3, 1, 2), (2, 2, 2, 3, 2)]


@pytest.fixture(params=SIZES, ids=str)
def grammar(request):
    v, m, s, L, classes = request.param
    return hl.random_grammar(v=v, m=m, s=s, L=L, num_classes=classes, generator=torch.Generator().manual_seed(3))


def pieces_by_hand(near):
    """Numbers of the pieces of a graph, in the order of their first nodes; near is its (N, N) adjacency."""
    number = [-1] * len(near)
    for start in range(len(near)):
        if number[start] < 0:
            number[start], stack = max(number) + 1, [start]
            while stack:
                for j in near[stack.pop()].nonzero()[:, 0].tolist():
                    if number[j] < 0:
                        number[j] = number[start]
                        stack.append(j)
    return number


def distances(g):
    leaves = all_data(g)[0]
    return (leaves[:, None] != leaves).sum(2)


def test_pieces_are_those_of_the_graph_of_strings(grammar):
    assert fragments(grammar).tolist() == pieces_by_hand(distances(grammar) <= 1)


def test_as_many_eigenvalues_of_the_smallest_turn_are_one(grammar):
    values = spectrum(erasure_kernel(grammar, 1)).values
    pieces = int(fragments(grammar).max()) + 1
    assert int((values > 1 - 1e-9).sum()) == pieces


def test_reach_is_what_the_piece_of_the_class_touches(grammar):
    x, near = all_data(grammar), distances(grammar) <= 1
    classes = x[grammar.L][:, 0]
    inside = torch.tensor(pieces_by_hand(near & (classes[:, None] == classes)))
    chosen = torch.randperm(len(classes), generator=torch.Generator().manual_seed(0))[:12]
    found = reach(grammar, x[0][chosen])
    assert found.whole.all()
    for n, fraction, strings in zip(chosen.tolist(), found.fraction.tolist(), found.strings.tolist(), strict=True):
        members = inside == inside[n]
        touched = {*classes[near[members].any(0)].tolist()} - {int(classes[n])}
        assert fraction == pytest.approx(len(touched) / (grammar.num_classes - 1))
        assert strings <= int(members.sum())
        assert strings == int(members.sum()) or fraction == 1  # it stops where nothing is left to be found


def test_what_was_not_seen_to_the_end_says_so():
    rng = torch.Generator().manual_seed(1)
    g = hl.random_grammar(v=8, m=5, s=2, L=3, num_classes=8, generator=rng)
    x = hl.sample(g, 1, generator=rng)[0]
    short, long = reach(g, x, limit=1), reach(g, x)
    assert not short.whole[0] and short.strings[0] == 1 and short.fraction[0] == 0
    assert long.whole[0] and long.strings[0] > 1


def test_symbols_beyond_a_byte_are_told_apart():
    """Strings that agree but for symbols that differ by 256 are two."""
    rule = torch.tensor([[[0, 1], [256, 1]], [[5, 9], [6, 8]]])
    g = hl.Grammar(v=300, m=2, s=2, L=1, num_classes=2, rules=(rule,))
    found = reach(g, torch.tensor([[0, 1]]))
    assert found.strings.tolist() == [2] and found.fraction.tolist() == [0] and found.whole.all()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda g: fragments(g, limit=100), "expected at most 100 derivations"),
        (lambda g: reach(g, all_data(g)[0][:1], limit=0), "limit: expected at least 1, got 0"),
        (lambda g: reach(g, torch.tensor([[0] * 8])), "leaves: datum 0 is not a string"),
        (lambda g: reach(one_class(), all_data(one_class())[0]), "g: expected two classes or more"),
    ],
)
def test_bad_input_is_refused(call, said):
    g = hl.random_grammar(v=4, m=2, s=2, L=3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=said):
        call(g)


def one_class():
    return hl.random_grammar(v=4, m=2, s=2, L=1, num_classes=1, generator=torch.Generator().manual_seed(0))
