"""What the pages have between fences, with their words in capitals replaced."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
WORDS = {
    "APP_ID": "5a5f6e5c-0000-4000-8000-000000000002",
    "PRINCIPAL_OBJECT_ID": "5a5f6e5c-0000-4000-8000-000000000003",
    "PROJECT": "project",
    "PROJECT_NUMBER": "123456789012",
    "REGION": "eu-west-1",
    "ROLE": "skyferry",
    "SERVICE": "ec2.amazonaws.com",
    "SERVICE_ACCOUNT_UNIQUE_ID": "104567890123456789012",
    "STORAGE_ACCOUNT": "account",
    "TENANT_ID": "5a5f6e5c-0000-4000-8000-000000000001",
}


class Reader:
    """Who replaces the words in capitals."""

    def __init__(self, account: str) -> None:
        """`account` is one of AWS, which has nothing yet; buckets are named after it, because all accounts share their names."""
        self.account = account
        self.words = {**WORDS, "ACCOUNT": account, "PHOTOS": f"photos-{account}", "ARCHIVE": f"archive-{account}"}

    def blocks(self, text: str, kind: str) -> list[str]:
        """Those of one language."""
        found = re.findall(rf"^( *)```{kind}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
        return [self.replaced(textwrap.dedent(body)) for _, body in found]

    def replaced(self, text: str) -> str:
        """With what stands for them."""
        words = re.compile(r"(?<![A-Za-z_])[A-Z]+(?:_[A-Z]+)*(?![A-Za-z_])")
        return words.sub(lambda word: self.words.get(word[0], word[0]), text)


def commands(script: str, program: str, folder: Path) -> list[list[str]]:
    """Those of one program, in order; each in words, as a shell splits them. Other programs do nothing."""
    others = "".join(f"{name}() {{ :; }}; " for name in ("aws", "gcloud", "az", "skyferry", "sh"))
    tell = f"{program}() {{ for word; do printf '%s\\037' \"$word\"; done; printf '\\036'; }}; "
    done = subprocess.run(["sh", "-euc", others + tell + script], cwd=folder, stdout=subprocess.PIPE, check=True)
    return [said.split("\037")[:-1] for said in done.stdout.decode().split("\036")[:-1]]
