"""``python -m msrpgw.manage.ctl``: the same as ``msrpgw-ctl``."""

from msrpgw.manage.ctl.run import main

if __name__ == "__main__":
    main()
