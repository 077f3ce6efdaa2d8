-- A step that another branch brings.
SELECT 1;
