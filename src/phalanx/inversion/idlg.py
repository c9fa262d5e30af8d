"""IDLG: DLG with the label read off the last layer's gradient first."""

from phalanx.inversion.dlg import DLG


class IDLG(DLG):
    """DLG in which unknown labels are not searched but inferred from the signs of the last layer's gradient.

    For one image the label is always right, and the search has fewer unknowns; for more it is a guess (`infer_labels`), where
    DLG may do better. With known labels it is DLG.

    Reference: Zhao et al., iDLG: Improved Deep Leakage from Gradients, 2020 (arXiv 2001.02610).

    >>> IDLG(restarts=8).searches_labels
    False
    """

    @property
    def searches_labels(self) -> bool:
        """It reads them."""
        return False
