"""The miniature Video-LLaVA: eight frames of moving, appearing, changing and flashing shapes.

Read `clips` (the frames) and `question_families` (mirrors of the four video benchmarks); how it was
trained is in `training/video_llava`. A number from it is never one of Video-LLaVA.
"""
