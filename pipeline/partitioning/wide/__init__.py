"""Cutting a graph that no task can hold: components, clusters and refinement as waves of tasks."""
