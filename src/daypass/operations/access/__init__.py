"""Questions about access: simulation, who can and what can, trust tests, lint, and the explanation of a denial."""
