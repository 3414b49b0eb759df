"""What `scripts.fuzz` needs: mutations that know tar and its compressors, and targets that judge each run."""
