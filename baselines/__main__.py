"""`python -m mvh.baselines`: figures of the reference baselines; see `mvh.baselines.reference`."""

from mvh.baselines.reference import main

if __name__ == "__main__":
    main()
