"""The networks of the ensemble as plain ``nn.Module`` classes, and the bundles that hold their weights.

Parameter names are those of the published checkpoints, so that ``load_state_dict(strict=True)`` holds once
:mod:`models.published` has taken away what inference never uses.
"""
