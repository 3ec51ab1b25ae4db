"""The compiled loops.  One block of samples stays in cache while it settles, and samples that have stopped leave it.

A block has room for ``capacity`` rows.  The phases of a sample are neighbours, row ``i·phases + k`` is sample ``i`` in
phase ``k``, and the samples that still move are the first ones: a sample that stops changes places with the last that
moves, so that every product is as small as the number of samples that need it.  Every quantity over the free units
is one flat buffer in which population ``p`` owns a contiguous ``(capacity, stride)`` matrix; a row is filled up with
zeros to whole vector registers.  Nothing here knows of specs: a plan of integers says what to do.
"""
