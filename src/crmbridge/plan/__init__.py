"""Plans: the policy, the decisions, the file that people review, and what is applied exactly as it reads."""
