import subprocess
import sys


def test_importing_the_package_loads_neither_the_sdk_nor_what_it_brings():
    probe = (
        "import sys, agent.okta_org\n"
        "heavy = {'okta', 'aiohttp', 'jwcrypto', 'Cryptodome', 'pydantic', 'yarl', 'httpx'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
