"""Measure codecs: quality metrics, other codecs, sweeps over qualities, reports and speed."""
