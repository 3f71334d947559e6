/**
 * `/sbin/dhcp-lease` of the guest: configures an interface according to udhcpc's variables.
 *
 * It removes only addresses that it added: without a DHCP server, manually added addresses stay.
 */
export const DHCP_SCRIPT = `#!/bin/sh
given=/run/dhcp.$interface
case $1 in
	deconfig)
		[ -e $given ] && ip addr del $(cat $given) dev $interface
		rm -f $given
		;;
	bound | renew)
		[ -n "$mtu" ] && ip link set $interface mtu $mtu
		ip addr replace $ip/$mask dev $interface
		echo $ip/$mask >$given
		for gateway in $router; do ip route replace default via $gateway dev $interface && break; done
		for server in $dns; do echo nameserver $server; done >/etc/resolv.conf
		;;
esac
`
