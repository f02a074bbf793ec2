"""A program that runs a module as `python -m` does, and says last which packages it has loaded then."""

RUN = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_module(sys.argv[0], run_name="__main__")
finally:
    print("LOADED", *{name.partition(".")[0] for name in sys.modules})
"""
