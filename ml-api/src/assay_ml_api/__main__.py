"""`python -m assay_ml_api`."""

from assay_ml_api.main import main

if __name__ == "__main__":
    main()
