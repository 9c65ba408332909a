"""PURE: mutual recognition: findings in, verdict out."""
