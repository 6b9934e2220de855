"""The definition of all numbers between the planes and the coder: slow, readable, pixel by pixel.

What these files compute is right; every fast path is tested to give the same bits.  They share with the fast paths only
the dataclasses of parameters and two pinned tables (COMPAND, EXP2), which the tests make anew.

`predict`      predictions of each channel from earlier pixels, binary32, one rounding an operation, in a written order
`network`      the frozen network in int64, rescaled by one binary32 multiplication a layer
`frequencies`  logits to counts, in integers
`mixture`      a discretised logistic mixture to counts, in integers
`program`      the frozen networks of the paper in int64
`range_coder`  counts and symbols to words and back, as constriction does it
`codec`        the counts of every pixel and channel of a picture

A pixel is (y, x).  Its time is t = x + 2 y, and what is coded for it depends on pixels of smaller time only, on the
channels before it at the pixel itself, and on nothing else.

Borders.  Three things have three rules:

values           V(y, x) = V(y, W - 1) for x >= W: a row's last value is kept;
                 V(y, x) = V(y - 1, x + 2) for x < 0 < y: the pixel of the same time in the row above;
                 V(0, x) = 128 for x < 0;
                 V(-d, x) = V(0, x - 2 d): the pixel of the same time in row 0.
statistics       S(y, x) = 0 for x < 0 or y < 0: zero before a row's first pixel and above the picture;
                 S(y, x) = S(y, W - 1) for x >= W: kept after a row's last pixel.
network's codes  0 everywhere outside the picture, in every layer: at the inputs and in what each convolution sees.
"""
