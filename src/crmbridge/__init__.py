"""crmbridge: find the people missing from your CRM's opportunities, add their contact roles safely, prove what marketing earned."""
