def show(a, b): pass
