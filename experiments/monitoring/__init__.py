"""Watches running numbers: notices that a mean fell, with a declared average time between false alarms."""
