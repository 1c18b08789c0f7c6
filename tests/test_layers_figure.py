"""The live figure of layers: it says which layer leads."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from hierlib.book.figures.layers import layers_html


def test_the_live_figure_says_which_layer_leads():
    eps, names = [0.3, 0.6, 0.9], ["layer 1", "layer 2", "logits"]
    trained = np.array([[0.97, 0.98, 0.99], [0.8, 0.9, 0.95], [0.3, 0.2, -0.01]])
    markup = layers_html(eps, names, {"trained": trained, "untrained": trained[:, ::-1]}, [1, 0.95, 0.1], start=1)
    data = json.loads(re.search(r'application/json">(.*?)</script>', markup, re.S)[1])
    assert data["curves"]["trained"] == trained.T.tolist() and len(data["colours"]) == 3 and data["start"] == 1
    with pytest.raises(ValueError, match=r"untrained: expected finite \(3, 3\)"):
        layers_html(eps, names, {"trained": trained, "untrained": trained[:2]}, [1, 1, 0])
    with pytest.raises(ValueError, match="evenly spaced"):
        layers_html([0.3, 0.5, 0.9], names, {"trained": trained, "untrained": trained}, [1, 1, 0])
    with pytest.raises(ValueError, match="start among its stops"):
        layers_html(eps, names, {"trained": trained, "untrained": trained}, [1, 1, 0], start=3)
    if shutil.which("node") is None and not os.environ.get("CI"):
        pytest.skip("not tested: the live figures (install node)")
    script = Path(__file__).parents[1] / "book" / "_assets" / "js" / "layers.js"
    program = f"const T = require({json.dumps(str(script))}); const data = JSON.parse(require('fs').readFileSync(0));"
    program += "console.log(T.sentence(data, 'trained', 2) + '|' + T.sentence(data, 'untrained', 1))"
    said = subprocess.run(["node", "-e", program], input=json.dumps(data), capture_output=True, text=True, timeout=60)
    kept = "Class kept with probability"
    assert said.stdout.strip().split("|") == [
        f"Noise ε = 0.9, trained: most alike in layer 1 (0.30), least in logits (−0.01). {kept} 0.10",
        f"Noise ε = 0.6, untrained: most alike in layer 1 (0.95), least in logits (0.80). {kept} 0.95",
    ], said.stderr
