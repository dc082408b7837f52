"""Connected regions of a mask: what blobs of touch and spots of heat are counted by."""

import numpy as np
from numpy.typing import NDArray


def regions(mask_HW: NDArray[np.bool_]) -> tuple[NDArray[np.int64], int]:
    """((H, W) number of the region that each pixel is in, from 0 on, -1 outside the mask; how many regions there are).

    Pixels that touch at a side or a corner are of one region; regions count row by row. Neighbours hook the greater of
    their roots to the lesser one and paths are halved until nothing changes (Shiloach and Vishkin 1982): that takes a
    few passes, however a region winds.
    """
    height, width = mask_HW.shape
    place = np.arange(height * width, dtype=np.int64).reshape(height, width)
    pairs = [
        (place[first][both], place[second][both])
        for first, second in (
            (np.s_[:, :-1], np.s_[:, 1:]),
            (np.s_[:-1], np.s_[1:]),
            (np.s_[:-1, :-1], np.s_[1:, 1:]),
            (np.s_[:-1, 1:], np.s_[1:, :-1]),
        )
        for both in (mask_HW[first] & mask_HW[second],)
    ]
    one, other = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
    root = place.ravel().copy()
    while True:
        a, b = root[one], root[other]
        apart = a != b
        if not apart.any():
            break
        one, other, a, b = one[apart], other[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (root[root] != root).any():
            root = root[root]
    numbers = np.full(height * width, -1, np.int64)
    inside = mask_HW.ravel()
    found, numbers[inside] = np.unique(root[inside], return_inverse=True)
    return numbers.reshape(height, width), len(found)
