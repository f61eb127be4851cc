"""Published files of texts -> balanced samples, cut into segments: `python -m mvh.dataset_builder`."""
