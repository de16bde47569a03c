"""For all tests: none is timed, since a busy machine proves nothing."""

from hypothesis import settings

from spike_depth_core.allocator import keep_freed_memory

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
keep_freed_memory()
