"""The miniature Video-LLaVA: eight frames of moving, appearing, changing and flashing shapes.

Read `clips` (the images), `statements` (the lists it learns from), `question_families` (mirrors
of the four video benchmarks), `losses` in this order. A number from it is never one of Video-LLaVA.
"""
