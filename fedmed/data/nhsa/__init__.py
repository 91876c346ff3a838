"""Tables of Chinese medical insurance as data: schema, code lists, validation rules, and their readers."""
