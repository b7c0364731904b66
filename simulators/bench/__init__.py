"""`tocsin bench`: what things cost, each as a ratio of two measurements of one run.

The parts are the real ones. A figure that stands alone says more about the machine than about the product.
"""
