"""Measures, and the files made from them: Prometheus's rules, Alertmanager's routes and Grafana's dashboards.

Data and text only, standard library only: the command line, the generator of the reference page and tests read it.
"""
